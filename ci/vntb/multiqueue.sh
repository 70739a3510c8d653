#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_netdev with four queue pairs in one window: every queue carries packets, and taking them away again loses none.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

queues=4
# Small frames: a queue with less than five of them free is never used, and a quarter of the window has three of 64 KiB.
net_load max_num_clients=$queues transport_mtu=0x2000
both "ethtool -L $INTERFACE combined $queues"
stats=/sys/kernel/debug/ntb_transport
all_up() {
    both "[ \$(grep -l '^QP Link.*Up' $stats/*/qp*/stats | wc -l) = $queues ]"
}
wait_for 30 "$queues queue pairs to be up on both sides" all_up

# Flows spread over the queues by their hash: enough of them for each to get some.
ep 'iperf3 -s -D --pidfile /tmp/iperf3.pid'
wait_for 20 'iperf3 on the EP to listen' ep 'ss -Hlnt sport = 5201 | grep -q .'
rc 'timeout 90 iperf3 -c ep -P 16 -n 2M' | tail -4
ep 'kill $(tr -d \\0 </tmp/iperf3.pid)'
for side in ep rc; do
    used=$($side "grep -h '^tx_pkts' $stats/*/qp*/stats")
    echo "$side: $used"
    same "queues of the $side that have sent packets" $queues "$(grep -cE "\s[1-9][0-9]*\$" <<<"$used")"
done

both "ethtool -L $INTERFACE combined 1"
no_loss rc -c 5 -W 10 ep
