#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP stops and starts its link ten times: the RC's function goes and comes, and works each time.
#
# function: epf-test
# timeout: 600
. "$SUITE/lib.sh"

start=$(epc)/start
device=/dev/pci-endpoint-test.0

for round in {1..10}; do
    echo "=== start $round of 10"
    ep "echo 0 >$start"
    wait_for 20 "$FUNCTION to go from the RC after stop $round" rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    ! rc test -e "$device" || fail "$device outlived its function"
    ep "echo 1 >$start"
    wait_for 30 "$device to come on the RC after start $round" rc test -c "$device"
    selftest pci_ep_bar.BAR0.BAR_TEST
    # IRQ type set, read back, MSI 1; then IRQ type set, 1, 1024 and 1025 bytes read.
    selftest_first 3 pci_ep_basic.MSI_TEST
    selftest_first 4 pci_ep_data_transfer.memcpy.READ_TEST
done

echo "=== all of them after the last start"
for bar in 0 2 4; do
    selftest "pci_ep_bar.BAR$bar.BAR_TEST"
done
selftest pci_ep_basic.CONSECUTIVE_BAR_TEST
selftest pci_ep_bar.BAR2.BAR_SUBRANGE_TEST
selftest pci_ep_basic.MSI_TEST
selftest pci_ep_data_transfer.memcpy.READ_TEST
selftest pci_ep_data_transfer.memcpy.WRITE_TEST
selftest pci_ep_data_transfer.memcpy.COPY_TEST
