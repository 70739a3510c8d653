#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A guest's panic ends the run with 255 and the tail of its console, on either side.
#
# boot: none
# timeout: 240
. "$SUITE/lib.sh"
own_runtime

for side in ep rc; do
    echo "=== the $side guest panics"
    pair_run 255 --function none -- sh -c "$side 'echo c >/proc/sysrq-trigger'; sleep 60"
    says 'Kernel panic'
    says 'sysrq triggered crash'
    logs_kept
    grep -q 'Kernel panic' "$SPIDER_PAIR_RUNS/latest/$side.log" || fail "$side.log does not have the panic"
done
