#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A channel that only notifies: the RC submits, the EP's callback runs. However often the RC submits, and while both
# sides are busy, nothing gets stuck, and the last submission is told.
#
# function: vntb-dma
# boot: own
# timeout: 300
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

route remote,remote,remote,local
drive

echo '=== one by one: each is told'
for n in 1 2 3 4 5 6 7 8 9 10; do
    delivers 3 "$n"
    told 3 "$n"
done

echo '=== many at once, beside all else: none gets stuck, and the end is told'
contend
for round in 1 2 3 4 5; do
    before=$(notified 3 'done')
    for channel in "${CHANNELS[@]}"; do
        queue "$channel" "$round" 200
    done
    for channel in "${CHANNELS[@]}"; do
        on rc wait "$channel" 60000
    done
    wait_for 5 'the EP to be told' eval "[ \$(notified 3 done) -gt $before ]"
done
rest
same 'aborts that the EP was told' 0 "$(notified 3 aborted)"

echo '=== and then one by one again'
before=$(notified 3 'done')
delivers 3 99
told 3 $((before + 1))
for channel in 0 1 2; do
    told "$channel" 0
done
