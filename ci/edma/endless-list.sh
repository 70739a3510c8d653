#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A list that never ends, whether it moves data round and round or is nothing but a link to itself: registers answer,
# other channels move their data, and the list ends when the channel is stopped, the engine disabled, or the link gone.
#
# function: none
# boot: own
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/edma/edma.inc"

set_up
# The eDMA's registers, in the endpoint controller's first BAR.
registers=$(ep 'for device in /sys/bus/pci/drivers/spider_bridge/0000:*; do echo "$device/resource0"; done')
dma=0x5000
engine_enable=0x0c doorbell=0x10 channel3=0x800 control1=0x00 llp_low=0x1c llp_high=0x20
poke() { ep mmio poke "$registers" $((dma + $1)) "$2"; }
peek() { ep mmio peek "$registers" $((dma + $1)); }

# An element's first word: control (CB 1, TCB 2, LLP 4) and size.
element() { printf '%#x' $(($1 | $2 << 32)); }

# endless NAME WORD…: channel 3 goes through the list of these words, at the begin of its memory; two other channels work.
endless() {
    echo "=== $1"
    on_ep raw 3 0 "${@:2}"
    poke $engine_enable 1
    # CCS and LLE.
    poke $((channel3 + control1)) 0x300
    poke $((channel3 + llp_low)) "$list"
    poke $((channel3 + llp_high)) 0
    poke $doorbell 3
    same 'the state of channel 3' running "$(silicon 3 status)"

    local bytes
    bytes=$(silicon 3 bytes)
    moves 0 $((1 << 20)) 339 1000 17
    moves 4 $((1 << 20)) 339 1000 18
    [ $(($(peek $((channel3 + control1))) >> 5 & 3)) = 1 ] || fail 'channel 3 does not run any more'
    same 'the state of channel 3, later' running "$(silicon 3 status)"
    [ $# -lt 5 ] || [ "$(silicon 3 bytes)" -gt "$bytes" ] || fail 'channel 3 moves nothing'
}

# ended: within a second.
ended() {
    wait_for 1 'channel 3 to stop' eval '[ "$(silicon 3 status)" != running ]'
    local bytes
    bytes=$(silicon 3 bytes)
    sleep 0.3
    same 'bytes that channel 3 has moved, later' "$bytes" "$(silicon 3 bytes)"
}

# What it moves is background, in either memory: the other channels' checks look at all of that.
moves 3 0 10 1000 1
list=$(value 3 memory)
round=("$(element 1 65536)" $((list + (512 << 10))) $((ADDRESS + (3 << 20))) "$(element 5 0)" "$list" 0)
link=("$(element 5 0)" "$list" 0)

endless 'data, round and round; stopped' "${round[@]}"
poke $doorbell 0x80000003
ended
endless 'a link to itself; stopped' "${link[@]}"
poke $doorbell 0x80000003
ended

endless 'data, round and round; the engine disabled' "${round[@]}"
poke $engine_enable 0
wait_for 1 'the engine to be disabled' eval '[ "$(peek $engine_enable)" = 0x0 ]'
ended
endless 'a link to itself; the engine disabled' "${link[@]}"
poke $engine_enable 0
ended
every_channel_moves

# Found by its data, which has nowhere to go; and by nothing but the link.
for name in round link; do
    declare -n words=$name
    endless "$name; the link stopped" "${words[@]}"
    ep "echo 0 >$(epc)/start"
    ended
    same 'the state of channel 3' halted "$(silicon 3 status)"
    wait_for 20 "$FUNCTION to go from the RC" rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    ep "echo 1 >$(epc)/start"
    find_buffer
    every_channel_moves
done
