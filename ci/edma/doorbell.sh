#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC rings the EP through BAR 2, which is then the eDMA's interrupt emulation; each ring is one interrupt.
#
# function: epf-test
. "$SUITE/lib.sh"

interrupts() {
    ep "awk '/dw-edma-core/ { print \$2 + \$3 }' /proc/interrupts"
}
fallbacks() {
    ep 'dmesg | grep -cF "Using embedded (DMA) doorbell fallback"' || true
}

rung=$(interrupts)
taken=$(fallbacks)
for round in 1 2 3; do
    selftest pcie_ep_doorbell.DOORBELL_TEST
    same "interrupts of the eDMA after ring $round" $((rung + round)) "$(interrupts)"
    same "times that the eDMA was taken for the doorbell after ring $round" $((taken + round)) "$(fallbacks)"
done
