#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Scatter lists of one element to 1000, of odd sizes at odd addresses and in no order, go through an exported channel
# whole, and nothing else changes on the EP. A channel's descriptor memory holds 169 elements and a link, so 170, 338 and
# 339 are where it is filled anew.
#
# function: vntb-dma
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"

set_up
seed=1
for pieces in 1 2 169 170 338 339 1000; do
    for channel in 0 3; do
        echo "=== channel $channel, $pieces pieces"
        # As much as there is room for, somewhere in a page; then less than what an element is itself.
        moves $channel $((4096 * seed + 2049)) $pieces $((900000 * 2 / (pieces + 1))) $seed
        moves $channel $((8192 * seed + 4095)) $pieces 23 $((seed + 100))
        seed=$((seed + 1))
    done
done
