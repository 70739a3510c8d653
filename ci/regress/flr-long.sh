#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC resets the function, 300 times each by FLR and by its bus, under a CPU that reads it: sub-ranges, MSIs and transfers work as before.
#
# function: epf-test
# boot: own
# tier: soak
# timeout: 3600
. "$SUITE/lib.sh"
. "$SUITE/regress/flr.inc"

the_methods flr bus
busy_rc
reset_by flr 300 pci_endpoint_test -r pci_ep_bar.BAR2.BAR_TEST
works_as_before
reset_by bus 300 pci_endpoint_test -r pci_ep_bar.BAR2.BAR_TEST
works_as_before
