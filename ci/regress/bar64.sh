#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An EP that makes BAR 2 one of 64 bits, as nvmet_pci_epf does BAR 0: the RC sees one, above 4 GiB as well.
#
# function: epf-test
# boot: own
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/regress/flr.inc"

registers=$(ep 'ls /sys/bus/pci/drivers/spider_bridge/*/resource0')
start=$(epc)/start

# bar2 FLAGS WANTED: BAR 2 with these flags, as dw_pcie_ep_set_bar_resizable writes them; lspci shows WANTED.
bar2() {
    ep "echo 0 >$start"
    wait_for 20 'the function to go from the RC' rc "! test -e $DEVICE"
    ep "mmio poke $registers 0x8bc 1; mmio poke $registers 0x18 $1; mmio poke $registers 0x1c 0
        mmio poke $registers 0x8bc 0; echo 1 >$start"
    wait_for 30 'the function to come on the RC' rc test -c /dev/pci-endpoint-test.0
    rc lspci -vs "$FUNCTION" | tee lspci
    grep -q "Memory at .* ($2) \[size=1M\]" lspci || fail "BAR 2 is not $2"
    rm lspci
    bars_agree 'plug'
    selftest pci_ep_bar.BAR2.BAR_TEST
}

bar2 0x4 '64-bit, non-prefetchable'
selftest pci_ep_bar.BAR2.BAR_SUBRANGE_TEST
# No sub-ranges here: pci-epf-test believes its BAR to have 32 bits, and reads half of the address.
bar2 0xc '64-bit, prefetchable'
[ $(($(rc "sed -n 3p $DEVICE/resource" | cut -d' ' -f1))) -gt $((0xffffffff)) ] || fail 'BAR 2 lies below 4 GiB'
bar2 0 '32-bit, non-prefetchable'
selftest pci_ep_bar.BAR2.BAR_SUBRANGE_TEST
