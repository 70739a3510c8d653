#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Both sides have the doorbells that the EP has, db_count less two, however many vectors there are; to ring others is an
# error. A transport that derives its queues from the mask has as many on both sides, and a link.
#
# function: vntb-dma
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

tool_load
mask=0x3fff # 16 - 2
same "the RC's doorbells" $mask "$(rc "cat $RC_TOOL/db_valid_mask")"
same "the EP's doorbells" $mask "$(ep "cat $EP_TOOL/db_valid_mask")"

# rings SIDE TOOL BITS: it may.
rings() {
    "$1" "echo s $3 >$2/peer_db"
}
rings rc "$RC_TOOL" $((1 << 13))
rings ep "$EP_TOOL" $((1 << 13))
wait_for 5 'doorbell 13 on the RC' rc "[ \$((\$(cat $RC_TOOL/db))) = $((1 << 13)) ]"
both 'for t in /sys/kernel/debug/ntb_tool/*; do echo c 0x3fff >$t/db; done'
for bits in $((1 << 14)) $((1 << 20)) $((1 << 40 | 1)); do
    ! rings rc "$RC_TOOL" "$bits" 2>said || fail "the RC has rung $bits"
    grep -qi 'invalid argument' said || fail "the RC: $(cat said)"
    ! rings ep "$EP_TOOL" "$bits" 2>said || fail "the EP has rung $bits"
    grep -qi 'invalid argument' said || fail "the EP: $(cat said)"
done
rm said
same "the RC's doorbells after that" 0x0 "$(rc "cat $RC_TOOL/db")"
same "the EP's doorbells after that" 0x0 "$(ep "cat $EP_TOOL/db")"
unload_all
both_loaded=

net_load max_num_clients=16
no_loss rc -c 5 "$EP_ADDRESS"
