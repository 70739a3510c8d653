#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_perf: the processor of each side copies 2 MiB through its window.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

both_load ntb_perf total_order=21 chunk_order=16
for side in ep rc; do
    run=/sys/kernel/debug/ntb_perf/$(ntb $side)/run
    $side "timeout 60 sh -c 'echo 0 >$run'" || fail "$side: ntb_perf did not end within 60 s"
    result=$($side "cat $run")
    echo "$side: $result"
    grep -qE 'copied 2097152 bytes in [0-9]+ usecs, [0-9]+ MBytes/s' <<<"$result" || fail "$side: $result"
done
