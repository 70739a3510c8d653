#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP stops and starts its link three times; ntb_netdev and ntb_transport are reloaded around it, as the stock stack
# needs, and traffic flows each time. What stock does not do in silence: ntb_hw_epf waits a second for the answer of an
# endpoint that is gone, and warns (ntb_epf_send_command).
#
# function: vntb
# options: --net
# boot: own
# timeout: 240
# complaint: ntb_epf_send_command
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

start=$(epc)/start
for round in 1 2 3; do
    echo "=== restart $round"
    traffic_starts
    both modprobe -r ntb_netdev ntb_transport
    ep "echo 0 >$start"
    wait_for 30 "$FUNCTION to go from the RC" rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    rc "dmesg | grep -q 'WARNING:.*ntb_epf_send_command'" || fail 'ntb_hw_epf did not miss the endpoint: is the link still up?'
    ep "echo 1 >$start"
    wait_for 30 "ntb_hw_epf to probe on the RC" rc test -e "/sys/bus/ntb/devices/$FUNCTION"
    net_up
    traffic_flows
done
