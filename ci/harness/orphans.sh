#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# When `pair run` ends CMD, all that CMD has started ends with it: its children, what detached itself, and what does not
# listen to SIGTERM; and at a second signal at once.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

# Sleepers of this case alone: nobody else sleeps so long.
long=$((100000 + $$ % 50000))
cat >command <<END
sleep $long &
setsid sh -c 'sleep $((long + 100000)) & exec sleep $((long + 200000))' &
(setsid -f sleep $((long + 300000)))
sh -c 'trap "" TERM; sleep $((long + 400000)); sleep $((long + 500000))' &
while [ "\$(sleepers)" -lt 5 ]; do sleep 0.1; done
echo started
wait
END
pattern="sleep ($long|$((long + 100000))|$((long + 200000))|$((long + 300000))|$((long + 400000))|$((long + 500000)))"
sleepers() { pgrep -fcx "$pattern" || true; }
export pattern
export -f sleepers
trap 'pkill -KILL -fx "$pattern" || true; clean_up' EXIT

for signals in 1 2; do
    echo "=== $signals signals"
    pair_start --function none -- bash ./command
    wait_for 90 'the command and its children' grep -qx started said
    kill -TERM "$pair_pid"
    if [ "$signals" = 2 ]; then
        sleep 0.05
        kill -TERM "$pair_pid" 2>/dev/null || true
    fi
    pair_ends 143 20
    same 'what the command started and still runs' 0 "$(sleepers)"
done
rm command said
