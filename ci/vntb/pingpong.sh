#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_pingpong: doorbells and scratchpads go to and fro on both sides for as long as it is loaded.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

both_load ntb_pingpong delay_ms=20
count() {
    "$1" "cat /sys/kernel/debug/ntb_pingpong/$(ntb "$1")/count"
}
beyond() {
    [ "$(count ep)" -gt "$1" ] && [ "$(count rc)" -gt "$2" ]
}
ep_before=$(count ep)
rc_before=$(count rc)
wait_for 30 "20 rounds on both sides (EP $ep_before, RC $rc_before at first)" beyond $((ep_before + 20)) $((rc_before + 20))
