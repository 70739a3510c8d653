#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The MTU as ntb_netdev makes it, 64 KiB less headers, and 1500: packets as large as it pass, larger ones are refused.
#
# Nothing may be under way while one side changes it, and nothing be sent before the other has heard: vntb.mtu-lost has
# what becomes of that.
#
# function: vntb
# options: --net
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

# Frames of 64 KiB less the transport's header (12 bytes), less that of Ethernet (14).
full=65510

change() {
    local side peer
    for side in ep rc; do
        peer=$(other $side)
        [ "$(ring "$peer" rx_pkts)" != 0 ] || fail "the $peer has received nothing: it could not be seen to hear"
        $side "ip link set $INTERFACE mtu $1"
        wait_for 30 "the $peer to hear of the $side's new MTU of $1" heard "$peer"
        no_loss rc -c 1 -W 10 ep
    done
}

# mtu BYTES: with this MTU on both sides.
mtu() {
    local largest=$(($1 - 28)) said
    echo "=== MTU $1"
    change "$1"
    no_loss rc -c 5 -W 10 -M do -s $largest ep
    no_loss ep -c 5 -W 10 -M do -s $largest rc
    said=$(rc ping -c 1 -W 2 -M do -s $((largest + 1)) ep 2>&1) && fail "a ping of $1 + 1 bytes has passed"
    grep -qi 'message too long' <<<"$said" || fail "a ping of $1 + 1 bytes: $said"
}

quiet
same "the EP's MTU" $full "$(ep "cat /sys/class/net/$INTERFACE/mtu")"
same "the RC's MTU" $full "$(rc "cat /sys/class/net/$INTERFACE/mtu")"
mtu 1500
mtu $full
! ep "ip link set $INTERFACE mtu $((full + 1))" 2>/dev/null || fail 'ntb_netdev takes an MTU larger than a frame'
no_bad_packets
