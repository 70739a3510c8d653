#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The race for the acknowledgement: with the stock dw-edma core on the RC, and the stock handler on the EP, which clears
# the status of every channel whenever it runs, transfers are done and never complete.
#
# function: vntb-dma
# boot: own
# timeout: 300
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

route default
drive spider_edma_naive

echo '=== alone they complete'
for channel in "${CHANNELS[@]}"; do
    delivers "$channel" $((channel + 1))
done

echo '=== beside DMA and doorbells of the EP they hang'
contend
times=2500
for channel in "${CHANNELS[@]}"; do
    queue "$channel" "$channel" $times
done
# hung CHANNEL: it is done by what the device says, and nothing has come of that within a second.
hung() {
    local before now
    [ "$(read_engine "channels.$1.status")" = stopped ] || return 1
    before=$(ended "$1") runs=$(read_engine "channels.$1.runs")
    [ "$before" -lt $times ] || return 1
    sleep 1
    now=$(ended "$1")
    [ "$now" = "$before" ] && [ "$(read_engine "channels.$1.runs")" = "$runs" ] && [ "$(read_engine "channels.$1.status")" = stopped ]
}
hung=()
deadline=$((SECONDS + 60))
while [ "${#hung[@]}" -eq 0 ] && [ "$SECONDS" -lt "$deadline" ]; do
    for channel in "${CHANNELS[@]}"; do
        if hung "$channel"; then
            hung+=("$channel")
        fi
    done
done
rest
[ "${#hung[@]}" -gt 0 ] || fail "no transfer hung: $(rc cat ${CONTROL[rc]})"

echo '=== and nothing comes later, although the device has told the RC that they are done'
sleep 2
for channel in "${hung[@]}"; do
    echo "channel $channel: $(ended "$channel") of $times ended, $(read_engine "channels.$channel.runs") runs done"
    # One run was alone.
    same "runs of channel $channel" $((1 + $(ended "$channel") + 1)) "$(read_engine "channels.$channel.runs")"
    same "the last interrupt of channel $channel" 'done' "$(read_engine "channels.$channel.last_interrupt")"
    if rc "echo wait $channel 1000 >${CONTROL[rc]}" 2>/dev/null; then fail "channel $channel does complete"; fi
    on rc terminate "$channel"
done
