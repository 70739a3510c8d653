#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# BAR 4 split into two windows of 128 bytes, below the 4 KiB granule of the iATU.
#
# function: epf-test
# timeout: 60
# xfail: BAR 4 has 256 bytes, the S4's iATU a granule of 4 KiB
# xfail-match: ^# \S*pci_endpoint_test\.c:\d+:BAR_SUBRANGE_TEST:Expected 0 \(0\) == ret \(-5\)$
. "$SUITE/lib.sh"
selftest pci_ep_bar.BAR4.BAR_SUBRANGE_TEST
