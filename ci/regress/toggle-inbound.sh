#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An EP that opens and closes an inbound region thousands of times a second leaves the RC's CPU to the RC.
#
# function: epf-test
# tier: soak
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"
. "$SUITE/regress/regress.inc"

face=$(ep_face)
region=$(inbound 2)
at=$(inbound_control "$region")
open=$(ep mmio peek "$face/resource0" "$at")
at_memory_speed rc 2 0x0 "$BAR2"

# work: how often in two seconds the RC's shell goes round a loop.
work() {
    rc 'end=$(($(cut -d. -f1 /proc/uptime) + 3)); n=0
        until [ "$(cut -d. -f1 /proc/uptime)" -ge $((end - 2)) ]; do :; done
        while :; do n=$((n + 1)); [ $((n % 200)) -ne 0 ] || { read -r t _ </proc/uptime; [ "${t%.*}" -lt $end ] || break; }; done
        echo $n'
}
alone=$(work)
ep "mmio cycle $face/resource0 $at ${TOGGLES:-60000} 150 0 $open" >cycled &
cycling=$!
sleep 1
beside=$(work)
kill -0 $cycling || fail 'the EP had stopped toggling'
wait $cycling
cat cycled
echo "the RC's work in 2 s: $alone alone, $beside beside an EP that toggles"
# On two cores the EP, the device and the libraries take their share as well; with each change pausing the RC's CPU a
# quarter was left.
[ $((beside * 100)) -ge $((alone * 40)) ] || fail "$((beside * 100 / alone)) % of the RC's CPU are left"

# And the region leads where it led.
hold ep 1 0x100000 0x100000
before=$(ep window lead "$region" "${HELD[0]}")
reads rc "$BAR2" 0 0 data
at_memory_speed rc 2 0x0 "$BAR2"
ep window lead "$region" "$before" >led
rm led cycled
let_go
