#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# BAR 0, which holds the function's registers, keeps what the RC writes to its last word.
#
# function: epf-test
# timeout: 60
. "$SUITE/lib.sh"
selftest pci_ep_bar.BAR0.BAR_TEST
