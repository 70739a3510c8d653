#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A network over the NTB: run in both guests at once, as the link needs both.
#
# usage: vntb-net.sh OWN-NAME OWN-ADDRESS PEER-NAME PEER-ADDRESS
set -eu
own=$1 address=$2 peer=$3 peer_address=$4

# ntb_netdev makes its device when it is loaded, and then only: the transport below it has to be there.
modprobe ntb_transport
modprobe ntb_netdev
interface=$(ls /sys/bus/ntb_transport/devices/ntb_netdev0/net 2>/dev/null) || {
    echo "ntb_netdev has made no interface: is there a device in /sys/bus/ntb/devices?" >&2
    exit 1
}
ip address add "$address/24" dev "$interface"
ip link set "$interface" up
n=0
until [ "$(cat "/sys/class/net/$interface/carrier" 2>/dev/null)" = 1 ]; do
    n=$((n + 1))
    [ $n -lt 600 ] || { echo "waited 30 s for the carrier of $interface: has the peer loaded ntb_netdev?" >&2; exit 1; }
    sleep 0.05
done
grep -qs "[[:space:]]$peer$" /etc/hosts || printf '%s\t%s\n' "$address" "$own" "$peer_address" "$peer" >>/etc/hosts
echo "$interface $address"
