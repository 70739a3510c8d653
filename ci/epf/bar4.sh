#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# BAR 4 (256 bytes, fixed) keeps what the RC writes to it.
#
# function: epf-test
# timeout: 60
. "$SUITE/lib.sh"
selftest pci_ep_bar.BAR4.BAR_TEST
