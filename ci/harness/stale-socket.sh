#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Sockets left by a pair that was killed are swept away and disturb nobody.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

echo '=== a pair is killed without a chance to tidy up'
pair_start --function none -- sleep 600
run_up
kill -KILL -- "-$pair_pid"
wait "$pair_pid" || true
wait_for 10 "the killed pair's processes to be gone" eval '[ -z "$(pgrep -f "$sockets/")" ]'
[ -S "$sockets/control.sock" ] || fail 'no stale socket: this case shows nothing'

echo '=== the next one boots'
pair_run 0 --function none -- true
[ ! -e "$sockets" ] || fail "$sockets is still there"
