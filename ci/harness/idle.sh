#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An idle pair costs the device process no CPU time.
#
# boot: shared
# timeout: 60
. "$SUITE/lib.sh"

[ -n "$(device_pid)" ] || fail 'run.json names no device process'
sleep 1
before=$(device_ticks)
sleep 5
used=$(($(device_ticks) - before))
echo "$used ticks of 10 ms in 5 s"
[ "$used" -le 5 ] || fail "the idle device used $used of 500 ticks"
