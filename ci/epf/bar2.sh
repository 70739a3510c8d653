#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# BAR 2 (1 MiB) keeps what the RC writes to it.
#
# function: epf-test
# timeout: 180
. "$SUITE/lib.sh"
selftest pci_ep_bar.BAR2.BAR_TEST
