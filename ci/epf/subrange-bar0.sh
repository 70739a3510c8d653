#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# BAR 0 holds the function's registers: the selftest leaves its mapping alone.
#
# function: epf-test
# timeout: 60
. "$SUITE/lib.sh"
selftest_skips pci_ep_bar.BAR0.BAR_SUBRANGE_TEST 'BAR is test register space'
