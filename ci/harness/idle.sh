#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An idle pair costs the device process no CPU time.
#
# boot: shared
# timeout: 60
. "$SUITE/lib.sh"

pid=$(sed -nE 's/.*"device_pid": ([0-9]+).*/\1/p' "$SPIDER_PAIR_RUN/run.json")
[ -n "$pid" ] || fail 'run.json names no device process'
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
sleep 1
before=$(ticks)
sleep 5
used=$(($(ticks) - before))
echo "$used ticks of 10 ms in 5 s"
[ "$used" -le 5 ] || fail "the idle device used $used of 500 ticks"
