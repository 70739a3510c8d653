#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# One, two and four exported channels at once, each with a list of its own, again and again: none waits for another's end,
# and each byte arrives where it belongs.
#
# function: vntb-dma
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"

set_up
offset() { echo $((4096 * $1 + 2 * $1 + 1)); }

# begin CHANNEL…: has all of them begin what was queued for them; ./before has what each did when the last one had.
begin() {
    local channel queued=() go=
    for channel; do
        queued+=("queue $channel $((TARGET[channel] + $(offset "$channel"))) 339 2500 $(($# * 10 + channel)) 300")
        go+="echo issue $channel >${CONTROL[rc]}; "
    done
    each rc "${queued[@]}"
    rc "set -e; $go cat ${CONTROL[rc]}" | tee before
}

for count in 1 2 4; do
    echo "=== $count at once"
    used=("${CHANNELS[@]:0:count}")
    for channel in "${CHANNELS[@]}"; do on ep fill "$channel"; done
    for _ in {1..5}; do
        begin "${used[@]}"
        for channel in "${used[@]}"; do
            on rc wait "$channel" 120000
            same "transfers of channel $channel that ended" 300/300 "$(value "$channel" ended)"
        done
        [ "$(grep -c now= before || true)" -lt "$count" ] || break
    done
    same 'channels that had not ended when the last one had begun' "$count" "$(grep -c now= before || true)"
    for channel in "${used[@]}"; do arrived "$channel" "$(offset "$channel")" $((count * 10 + channel)); done
    for channel in "${CHANNELS[@]:count}"; do on ep holds "$channel"; done
done
rm before
