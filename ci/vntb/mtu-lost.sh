#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Changes of the MTU that the stock ntb_transport does not survive, on whatever hardware. The one side says that its queue
# goes down in a slot of the ring (ntb_send_link_down) and at once begins its ring anew, before the other has looked:
# - if that slot was the first, the next packet takes its place; the other never hears, and refuses all that comes;
# - if the other still takes packets of the old ring, it acknowledges them by their old slots, and the new ring is full.
# No packet passes any more, either way, until the transport is loaded again.
#
# To make it certain the RC stands still meanwhile: its QEMU is stopped, and the EP writes to its RAM all the same.
#
# function: vntb
# options: --net
# boot: own
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

sockets=$(sed -nE 's/.*"sockets": "([^"]+)".*/\1/p' "$SPIDER_PAIR_RUN/run.json")
rc_qemu=$(process_of qemu-system-aarch64 rc)
[ -n "$rc_qemu" ] || fail "the RC's QEMU is not to be found"

# without_rc COMMAND: runs on the EP while the RC stands still.
without_rc() {
    local status=0
    kill -STOP "$rc_qemu"
    ep "$1" || status=$?
    kill -CONT "$rc_qemu"
    return $status
}

# begin SLOT: the EP's next packet goes to this slot of the ring, which the RC has received some through already.
begin() {
    quiet
    trap - EXIT
    until [ "$(ring ep tx_index)" = "$1" ] && [ "$(ring rc rx_pkts)" -ge 1 ]; do
        no_loss rc -c 1 -W 10 ep >/dev/null
    done
}

# A change of the EP's MTU, until its queue is up again.
change="ip link set $INTERFACE mtu 1500; until grep -q '^QP Link.*Up' /sys/kernel/debug/ntb_transport/*/qp0/stats; do :; done"

# nothing_passes, then all is loaded again and it does.
nothing_passes() {
    local side
    for side in ep rc; do
        ! $side ping -c 2 -i 0.2 -W 1 "$(other $side)" || fail "the $side has an answer: the stock transport survives this now"
    done
    both modprobe -r ntb_netdev ntb_transport
    net_up
    no_loss rc -c 5 -W 10 ep
}

echo "=== word of the end in the first slot, and a packet over it"
begin 0
received=$(ring rc rx_pkts)
without_rc "$change; ! ping -c 1 -W 1 rc"
refused() {
    [ "$(ring rc rx_err_ver)" -gt 0 ]
}
wait_for 10 "the RC to refuse a packet" refused
same "packets that the RC has received since its ring began" "$received" "$(ring rc rx_pkts)"
nothing_passes

echo "=== a packet of the old ring, acknowledged in the new one"
begin 2
without_rc "! ping -c 1 -W 1 rc; $change"
wait_for 10 "the RC to hear of the EP's new MTU" heard rc
same "free slots of the EP's new ring" 2 "$(ring ep 'free tx')"
nothing_passes
