#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Each module of the stack goes and comes alone, on each side; then the whole stack, from the RC and from the EP; after
# each order of it the network works.
#
# function: vntb
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

for module in ntb_tool ntb_pingpong ntb_transport; do
    for side in ep rc; do
        echo "=== $module on the $side"
        $side "modprobe $module && modprobe -r $module"
        ! $side "lsmod | grep -q ^$module" || fail "$module is still loaded on the $side"
    done
done
# Not without its peer: on its way out it would wait for one to take its command, a thousand times a second or two.
echo '=== ntb_perf'
both modprobe ntb_perf
rc modprobe -r ntb_perf
ep modprobe -r ntb_perf
echo '=== ntb_hw_epf on the RC'
rc "modprobe -r ntb_hw_epf && ! test -e /sys/bus/ntb/devices/$FUNCTION && modprobe ntb_hw_epf"
wait_for 20 'ntb_hw_epf to probe again' rc test -e "/sys/bus/ntb/devices/$FUNCTION"

# stack SIDE: unloads all of it there.
stack() {
    case $1 in
    rc) rc 'modprobe -r ntb_netdev ntb_transport && modprobe -r ntb_hw_epf && ! lsmod | grep ntb' ;;
    # Its driver stays as long as the function is there, and configfs with it.
    ep) ep 'modprobe -r ntb_netdev ntb_transport && ! lsmod | grep -E "ntb_(netdev|transport)"' ;;
    esac
}
for order in 'rc ep' 'ep rc'; do
    echo "=== the stack, $order"
    net_up
    no_loss rc -c 5 -W 10 ep
    for side in $order; do
        stack "$side"
    done
    rc modprobe ntb_hw_epf
    wait_for 20 'ntb_hw_epf to probe again' rc test -e "/sys/bus/ntb/devices/$FUNCTION"
done
net_up
no_loss ep -c 5 -W 10 rc

echo '=== the function, then its driver'
both modprobe -r ntb_netdev ntb_transport
rc modprobe -r ntb_hw_epf
ep "cd /sys/kernel/config/pci_ep && echo 0 >$(epc)/start"
wait_for 30 "$FUNCTION to go from the RC" rc "! test -e /sys/bus/pci/devices/$FUNCTION"
ep "cd /sys/kernel/config/pci_ep && rm $(epc)/func1 && rmdir functions/pci_epf_vntb/func1 && modprobe -r pci_epf_vntb && ! lsmod | grep ntb"
