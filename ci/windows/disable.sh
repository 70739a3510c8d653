#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A window that is closed reads all ones at once and swallows writes; one that is opened reads the RC's memory at once.
#
# function: epf-test
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"

hold rc 1 0x10000
toggled=$(ep "window toggle 1000 $OFFSET 0x10000 ${HELD[0]} 2>&1") || fail "$toggled"
echo "$toggled"
same "the RC's memory" data "$(ask check 0)"

echo '=== a region of which the EP closes one, another one holding the rest'
ep window open 14 $((OFFSET + 0x10000)) 0x8000 "${HELD[0]}"
ep window open $REGION $OFFSET 0x10000 "${HELD[0]}"
face=$(ep_face)/resource2
at_memory_speed ep 2 $OFFSET "$face"
ep window close $REGION
reads ep "$face" $OFFSET 0 ones
SIZE=0x8000 reads ep "$face" $((OFFSET + 0x10000)) 0 data
ep window close 14
SIZE=0x8000 reads ep "$face" $((OFFSET + 0x10000)) 0 ones
let_go
