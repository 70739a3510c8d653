#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP moves a window 20,000 times between buffers of the RC while it copies: no wrong byte, no stray write.
#
# function: epf-test
# timeout: 300
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"
rounds=20000

hold rc 4 0x10000
ep window open $REGION $OFFSET 0x10000 "${HELD[0]}"
at_memory_speed ep 2 $OFFSET "$(ep_face)/resource2"
reads ep "$(ep_face)/resource2" $OFFSET 0 data

moved=$(ep "window move $rounds $OFFSET 0x10000 ${HELD[*]} 2>&1") || fail "$moved"
echo "$moved"
steady=$(sed -E 's/.* steady ([0-9]+) .*/\1/' <<<"$moved")
[ "$steady" -ge $((rounds / 64)) ] || fail "only $steady copies were made while the window stood still"
same "the RC's memory" 'stamps right' "$(ask stamps $rounds)"
let_go
