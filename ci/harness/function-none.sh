#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# --function none leaves configfs to the user: set up by hand, the function comes and goes on the RC.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

cat >by-hand.sh <<'END'
set -eu
! rc test -e /sys/bus/pci/devices/0000:01:00.0 || { echo 'a function before there is one'; exit 1; }
ep '
    set -e
    modprobe pci-epf-test
    cd /sys/kernel/config/pci_ep
    mkdir functions/pci_epf_test/mine
    echo 0x1912 >functions/pci_epf_test/mine/vendorid
    echo 0x0031 >functions/pci_epf_test/mine/deviceid
    echo 16 >functions/pci_epf_test/mine/msi_interrupts
    ln -s "$PWD/functions/pci_epf_test/mine" controllers/*.pcie-ep/
    echo 1 >"$(echo controllers/*.pcie-ep)/start"'
rc 'n=0; until [ -e /sys/bus/pci/devices/0000:01:00.0 ]; do sleep 0.1; n=$((n + 1)); [ $n -lt 200 ] || exit 1; done'
rc lspci -nn -s 01:00.0
rc 'modprobe pci_endpoint_test && pci_endpoint_test -r pci_ep_bar.BAR0.BAR_TEST'
ep 'echo 0 >"$(echo /sys/kernel/config/pci_ep/controllers/*.pcie-ep)/start"'
rc 'n=0; while [ -e /sys/bus/pci/devices/0000:01:00.0 ]; do sleep 0.1; n=$((n + 1)); [ $n -lt 200 ] || exit 1; done'
echo 'it went again'
END
pair_run 0 --function none -- sh "$PWD/by-hand.sh"
says '[1912:0031]'
says 'ok 1 pci_ep_bar.BAR0.BAR_TEST'
says 'it went again'
rm by-hand.sh said
