#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# BAR 2 split into two address-matched windows: each half lands where the EP mapped it.
#
# function: epf-test
# timeout: 240
. "$SUITE/lib.sh"
selftest pci_ep_bar.BAR2.BAR_SUBRANGE_TEST
