#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A channel is paused in mid-transfer, each way, moves nothing then, and goes on to the end when it is resumed.
#
# function: none
# boot: shared
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/edma/edma.inc"

paused() {
    [[ $(value "$1" now) == Paused* ]]
}

set_up
for channel in 2 6; do
    echo "=== channel $channel"
    [ "$channel" = 2 ] && on_rc fill || on_rc fill 5 777 900000
    start "$channel" 777 338 2500 5 300
    on_ep pause "$channel"
    wait_for 20 "channel $channel to be paused" paused "$channel"
    before="$(value "$channel" ended) $(value "$channel" now) $(silicon "$channel" bytes)"
    [ "$channel" = 6 ] || on_rc fill
    sleep 0.5
    same "what channel $channel has done, half a second later" "$before" \
        "$(value "$channel" ended) $(value "$channel" now) $(silicon "$channel" bytes)"
    [ "$channel" = 6 ] || on_rc check

    on_ep resume "$channel"
    on_ep wait "$channel" 60000
    same "transfers of channel $channel that ended" 300/300 "$(value "$channel" ended)"
    on_ep check "$channel"
    [ "$channel" = 6 ] || on_rc check 5 777 "$(value "$channel" bytes)"
done
on_ep_fails 'Operation not permitted' pause 3
