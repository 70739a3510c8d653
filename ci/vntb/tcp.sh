#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# TCP both ways: a file arrives as it was sent, and iperf3 runs in both directions.
#
# function: vntb
# options: --net
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

nc_file rc ep $EP_ADDRESS 1000001
nc_file ep rc $RC_ADDRESS 1000001

ep 'iperf3 -s -D --pidfile /tmp/iperf3.pid'
trap 'ep "kill \$(tr -d \\\\0 </tmp/iperf3.pid)"' EXIT
wait_for 20 'iperf3 on the EP to listen' ep 'ss -Hlnt sport = 5201 | grep -q .'
for direction in '' -R; do
    rc "timeout 60 iperf3 -c ep -n 2M $direction" || fail "iperf3 $direction failed"
done
no_bad_packets
