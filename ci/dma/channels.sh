#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# One, two and four exported channels at once, each with lists of its own: each byte arrives where it belongs. And none
# waits for another's end: lists pass beside transfers that never end, which go on as well.
#
# function: vntb-dma
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"

set_up
offset() { echo $((4096 * $1 + 2 * $1 + 1)); }

# moved CHANNEL: bytes that it has moved.
moved() { "$PAIR" inspect "edma.read.channels.$1.bytes"; }

# further CHANNEL BYTES: it has moved more than that.
further() { [ "$(moved "$1")" -gt "$2" ]; }

for count in 1 2 4; do
    echo "=== $count at once"
    used=("${CHANNELS[@]:0:count}")
    begin=()
    for channel in "${CHANNELS[@]}"; do on ep fill "$channel"; done
    for channel in "${used[@]}"; do
        begin+=("start $channel $((TARGET[channel] + $(offset "$channel"))) 339 2500 $((count * 10 + channel)) 300")
    done
    each rc "${begin[@]}"
    for channel in "${used[@]}"; do
        on rc wait "$channel" 120000
        same "transfers of channel $channel that ended" 300/300 "$(value "$channel" ended)"
        arrived "$channel" "$(offset "$channel")" $((count * 10 + channel))
    done
    for channel in "${CHANNELS[@]:count}"; do on ep holds "$channel"; done

    echo "=== one of $count, the others without an end"
    used=("${CHANNELS[@]:1:count - 1}")
    for channel in "${used[@]}"; do on rc cycle "$channel" "${TARGET[channel]}" $((MEMORY / 2)) $((MEMORY / 4)) 0; done
    moves 0 "$(offset 0)" 339 2500 $((count * 100))
    for channel in "${used[@]}"; do
        wait_for 10 "channel $channel to go on" further "$channel" "$(moved "$channel")"
    done
    moves 0 "$(offset 0)" 339 2500 $((count * 100 + 1))
    for channel in "${used[@]}"; do on rc terminate "$channel"; done
done
