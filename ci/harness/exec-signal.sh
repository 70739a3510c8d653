#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A signal to ep or rc on the host reaches the guest's command, and its processes do not outlive it.
#
# boot: shared
# timeout: 90
. "$SUITE/lib.sh"

for side in ep rc; do
    for signal in INT TERM; do
        echo "=== SIG$signal to $side"
        rm -f out # or the last round's "ready" is seen before this round's command runs
        # A background job ignores SIGINT unless it is told otherwise.
        env --default-signal=INT "$side" 'trap "echo got INT; exit 5" INT; trap "echo got TERM; exit 5" TERM
            echo ready; while :; do sleep 0.1; done' >out &
        job=$!
        wait_for 20 'the command to start' grep -q ready out
        kill "-$signal" "$job"
        status=0
        wait "$job" || status=$?
        cat out
        same 'the status' 5 "$status"
        grep -q "got $signal" out || fail "the guest's command did not get SIG$signal"
    done

    echo "=== $side is killed"
    "$side" 'exec sleep 98765' &
    job=$!
    wait_for 20 'the command to start' "$side" pgrep -fx "'sleep 98765'"
    kill -KILL "$job"
    wait "$job" || true
    wait_for 20 "the guest's command to end with it" "$side" "! pgrep -fx 'sleep 98765'"
done
rm out
