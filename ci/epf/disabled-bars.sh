#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# BARs 1, 3 and 5 do not exist on the R-Car S4: the selftest skips them.
#
# function: epf-test
# timeout: 60
. "$SUITE/lib.sh"
for bar in 1 3 5; do
    selftest_skips "pci_ep_bar.BAR$bar.BAR_TEST" 'BAR is disabled'
    selftest_skips "pci_ep_bar.BAR$bar.BAR_SUBRANGE_TEST" 'BAR is disabled'
done
