#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP leads BAR 2 back and forth between two buffers while the RC reads it: one or the other, and at last the right one.
#
# function: epf-test
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"

region=$(inbound 2)
hold ep 2 0x100000 0x100000
before=$(ep window lead "$region" "${HELD[0]}")
at_memory_speed rc 2 0x0 "$BAR2"

WATCH_OFFSET=0 watch rc "$BAR2" 0,1
ep window swing 5000 "$region" "${HELD[1]}" "${HELD[0]}"
watched data

for buffer in 1 0 1; do
    ep window lead "$region" "${HELD[buffer]}" >led
    reads rc "$BAR2" 0 $buffer data
done
rm led
rc window poke "$BAR2" 0x80000 0x123456789abcdef
same 'what the RC wrote' 0x123456789abcdef "$(ask get 1 0x10000)"
same 'the other buffer' data "$(ask check 0)"
ep window lead "$region" "$before" >led
rm led
let_go
