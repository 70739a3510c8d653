#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# lockdep still looks after the function was plugged, unplugged and plugged again: two locks in both orders are reported, on either side.
#
# function: vntb-dma
# options: --kernel-variant debug
# boot: own
# timeout: 60
# complaint: possible circular locking dependency detected

. "$SUITE/lib.sh"

# The kernel's own checker goes off for good at its first report.
looks() {
    "$1" 'awk "/debug_locks:/ { print \$2 }" /proc/lockdep_stats'
}

for side in ep rc; do
    same "debug_locks of $side after the plug" 1 "$(looks $side)"
done

start=$(epc)/start
ep "echo 0 >$start"
wait_for 20 'the function to be unplugged' rc "[ ! -e /sys/bus/pci/devices/$FUNCTION ]"
ep "echo 1 >$start"
wait_for 20 'the function to be plugged again' rc "[ -e /sys/bus/pci/devices/$FUNCTION/driver ]"

for side in ep rc; do
    same "debug_locks of $side after an unplug and a plug" 1 "$(looks $side)"
    "$side" modprobe lock_order
    report=$("$side" 'dmesg | grep -A8 "possible circular locking dependency detected"') || fail "$side: two locks in both orders, and no report"
    [[ $report == *lock_order::* ]] || fail "$side: the report is of something else: $report"
    same "debug_locks of $side after the report" 0 "$(looks $side)"
done
