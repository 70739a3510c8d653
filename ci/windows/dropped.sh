#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A library that does not follow in time is dropped: one line says so, accesses trap from then on and are right.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"
own_runtime
pair_start --function epf-test -- sleep 600
run_up
export SPIDER_PAIR_RUN=$run
for name in ep rc pair; do eval "$name() { '$sockets/bin/$name' \"\$@\"; }"; done
[ "$(mode)" = fast ] || skip 'windows cannot be served at memory speed here'

PATH=$sockets/bin:$PATH hold rc 1 0x10000
face=$(ep_face)/resource2
ep window open $REGION $OFFSET 0x10000 "${HELD[0]}"
wait_for 5 'memory to lie over the window' lies_over ep 2 $OFFSET

# The EP's QEMU stands still while the RC closes the EP's window.
pid=$(process_of qemu-system-aarch64 ep)
kill -STOP "$pid"
begun=$SECONDS
rc setpci -s "$FUNCTION" COMMAND=0:4
[ $((SECONDS - begun)) -le 5 ] || fail "the RC waited $((SECONDS - begun)) s"
kill -CONT "$pid"
wait_for 5 'the runner to tell' says 'is dropped: '
# It has heard so: a device that it takes for dead is not asked any more.
wait_for 5 'the library to tell' grep -q 'spider-windows: the device closed the connection: accesses trap' "$run/ep-qemu.log"

reads ep "$face" $OFFSET 0 ones
grep -qE 'unsupported request: bus_master_disabled from the EP through its window \+ 0x20[0-9a-f]{4}$' "$run/device.log" ||
    fail "the device's log does not say who read where: $(grep unsupported "$run/device.log")"
rc setpci -s "$FUNCTION" COMMAND=4:4
SIZE=0x1000 reads ep "$face" $OFFSET 0 data
ep window close $REGION
same "the RC's memory" data "$(ask check 0)"
let_go
kill -INT "$pair_pid"
pair_ends 130 20
same 'the lines' 1 "$(grep -cF 'windows: trap' said)"
rm said
