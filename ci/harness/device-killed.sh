#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# qemu-device is killed: the run ends with 125 and says so; the next one is none the worse.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

pair_start --function epf-test -- sleep 600
run_up
pid=$(process_of qemu-device)
[ -n "$pid" ] || fail 'no such process'
echo "killing $(ps -o args= -p "$pid" | cut -c1-80)"
kill -KILL "$pid"
pair_ends 125 30
says 'qemu-device'
says 'SIGKILL'
logs_kept

echo '=== the next pair boots'
pair_run 0 --function epf-test -- rc test -c /dev/pci-endpoint-test.0
