#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC moves one byte to as many as the BAR has, of odd sizes from and to odd addresses, with each exported channel; all
# of them arrive on the EP, and nothing else changes there.
#
# function: vntb-dma
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"

set_up
seed=1
for bytes in 1 2 3 4 5 7 8 9 15 16 17 23 24 25 63 64 65 255 256 257 1000 4095 4096 4097 8191 65535 65537 \
    $((0xf9000)) $((MEMORY - 1)) "$MEMORY"; do
    room=$((MEMORY - bytes + 1))
    from=$((seed * 20011 % room)) to=$((seed * 40009 % room))
    echo "=== channel $((seed % 4)): $bytes bytes from $from to $to"
    moves_one $((seed % 4)) $to $from "$bytes" $seed
    seed=$((seed + 1))
done
