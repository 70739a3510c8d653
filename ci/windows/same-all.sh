#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Every case of epf.* comes to the same whether windows trap or not.
#
# boot: none
# tier: soak
# timeout: 3600
. "$SUITE/lib.sh"
own_runtime
for mode in fast trap; do
    status=0
    "$PAIR" test --windows $mode 'epf.*' >said 2>&1 </dev/null || status=$?
    cat said
    grep -E '^(not )?ok ' said >results.$mode || fail "no results in mode $mode"
    nothing_left
    same "the exit status in mode $mode" 0 $status
done
diff -u results.trap results.fast || fail 'the modes differ'
rm results.* said
