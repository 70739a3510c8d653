#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP stops its link under traffic, nothing unloaded: the stock RC does not survive it. ntb_epf_peer_db_set (with an
# interrupt's panic) or ntb_epf_spad_write reads an offset from an endpoint that is gone, gets all ones, and writes there.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

cat >stop.sh <<'END'
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
traffic_starts
ep "echo 0 >$(epc)/start"
wait_for 60 'the oops of ntb_hw_epf' grep -q 'pc : ntb_epf_' "$SPIDER_PAIR_RUN/rc.log"
same 'the EP' alive "$(ep echo alive)"
END
status=0
"$PAIR" run --function vntb --net -- bash "$PWD/stop.sh" >said 2>&1 </dev/null || status=$?
grep -v '^  |' said
case $status in 0 | 255) ;; *) fail "pair run ended with status $status, neither at the oops nor by a panic" ;; esac
grep -qE 'pc : ntb_epf_(peer_db_set|spad_write)' "$SPIDER_PAIR_RUNS/latest/rc.log" || fail 'the RC went down in another place'
nothing_left
rm -r stop.sh said
