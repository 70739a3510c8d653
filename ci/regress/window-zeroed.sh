#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What the RC can read of the EP's memory was something else before, and nothing of that is left in it. The RC writes to
# all memory of the EP that it reaches; when the function is bound anew, which takes the same pages again as a rule, it
# finds none of that, and nothing else that it was not told.
#
# function: vntb-dma
# boot: own
# timeout: 200
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/routing.inc"

# What a page is looked at by: every so many bytes.
STEP=512
# What the RC leaves: in the page of the header, in the descriptors, and behind the scratchpads. `BAR FIRST LAST`.
PLACES=("2 $((SLICE + 0x200)) $((SLICE + 0x1000))" "2 $((0xfc000)) $((0x100000))" "0 $((0x1000)) $((0x8000))")

# over PLACE COMMAND: for each step of it, on the RC, with the file of the BAR as $bar and the offset as $at.
over() {
    local bar first last
    read -r bar first last <<<"$1"
    rc "bar=/sys/bus/pci/devices/$FUNCTION/resource$bar at=$first; while [ \$at -lt $last ]; do
        $2
        at=\$((at + $STEP))
    done"
}

# blank: there is nothing but zeroes in all places.
blank() {
    local place found
    for place in "${PLACES[@]}"; do
        # shellcheck disable=SC2016
        found=$(over "$place" 'word=$(mmio peek $bar $at) || exit 1
            [ $((word)) -eq 0 ] || printf "0x%x: %s\n" $at $word') || fail "BAR ${place%% *} cannot be read"
        [ -z "$found" ] || fail "BAR ${place%% *} has $(wc -l <<<"$found") words that are not 0, such as $(head -1 <<<"$found")"
    done
}

controller=$(epc)
for round in 1 2 3; do
    echo "=== round $round"
    rc_reload
    same 'the magic of the header' $((0x4d445045)) "$(($(peek 2 $SLICE)))"
    blank
    for place in "${PLACES[@]}"; do
        # shellcheck disable=SC2016
        over "$place" 'mmio poke $bar $at 0x5ec4e75'
    done
    rc 'modprobe -r ntb_tool; modprobe -r ntb_hw_epf'
    ep "echo 0 >$controller/start && rm $controller/func1"
    wait_for 20 'the function to go' rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    ep "ln -s $FUNC $controller/ && echo 1 >$controller/start"
    wait_for 20 'the function' rc "test -e /sys/bus/pci/devices/$FUNCTION"
done
