#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An EP that is stopped while it writes to a window, and wakes up when that is closed, writes nothing more to the RC's memory.
#
# boot: none
# timeout: 240
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
pid=$(process_of qemu-system-aarch64 ep)
ep window open $REGION $OFFSET 0x10000 "${HELD[0]}"
wait_for 5 'memory to lie over the window' lies_over ep 2 $OFFSET
ep "(while [ ! -e /tmp/enough ]; do window fill $face $OFFSET 0x10000 1; done) >/dev/null 2>&1 &"
wait_for 20 'the EP to write' eval '[ "$(ask check 0)" != data ]'
kill -STOP "$pid"
rc setpci -s "$FUNCTION" COMMAND=0:4
# Nobody else may write to it now.
same 'the holder' filled "$(ask fill 0 0)"
kill -CONT "$pid"
sleep 2
same "the RC's memory" data "$(ask check 0)"
ep touch /tmp/enough
ep window close $REGION
rc setpci -s "$FUNCTION" COMMAND=4:4
says 'is dropped: '
let_go
kill -INT "$pair_pid"
pair_ends 130 20
rm said
