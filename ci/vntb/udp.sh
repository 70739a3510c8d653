#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# UDP both ways: datagrams of 16 KiB arrive as they were sent, in order, and a paced stream of iperf3 without loss.
#
# function: vntb
# options: --net
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

# UDP has no flow control: room for all of them in a socket, where each takes the 64 KiB of ntb_netdev's buffers.
room=$(ep cat /proc/sys/net/core/rmem_default)
both 'echo 4194304 >/proc/sys/net/core/rmem_max; echo 4194304 >/proc/sys/net/core/rmem_default'
# And no order of its own. ntb_transport has, but its tasklet hands packets to the backlog of whichever CPU it runs on: one
# backlog for all of them.
steering=/sys/class/net/$INTERFACE/queues/rx-0/rps_cpus
both "echo 1 >$steering"
trap 'as_before' EXIT
as_before() {
    both "echo $room >/proc/sys/net/core/rmem_default; echo 0 >$steering"
}
for _ in 1 2 3; do
    nc_file rc ep $EP_ADDRESS 81920 udp
    nc_file ep rc $RC_ADDRESS 81920 udp
done

ep 'iperf3 -s -D --pidfile /tmp/iperf3.pid'
trap 'ep "kill \$(tr -d \\\\0 </tmp/iperf3.pid)"; as_before' EXIT
wait_for 20 'iperf3 on the EP to listen' ep 'ss -Hlnt sport = 5201 | grep -q .'
for direction in '' -R; do
    output=$(rc "timeout 60 iperf3 -u -c ep -b 2M -t 3 -l 8192 $direction") || fail "iperf3 -u $direction failed"
    printf '%s\n' "$output"
    grep -qE ' 0/[5-9][0-9] \(0%\) +receiver' <<<"$output" || fail "iperf3 -u $direction: datagrams are lost: $(grep receiver <<<"$output")"
done
no_bad_packets
