#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A transfer that goes round its memory by itself: what changes there comes to the EP, each period is told, a pause holds
# it, and when it is terminated nothing moves any more and the channel takes lists again.
#
# function: vntb-dma
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"

# comes SEED: that is what the EP has soon.
comes() {
    wait_for 20 "test data $1 on the EP" ep "echo holds 1 $1 $OFFSET $LENGTH >${CONTROL[ep]} 2>/dev/null"
}

# more_than COUNT: periods that were told.
more_than() {
    [ "$(value 1 periods)" -gt "$1" ]
}

# moved: bytes that the channel has moved.
moved() {
    "$PAIR" inspect edma.read.channels.1.bytes
}

LENGTH=$((MEMORY / 2)) OFFSET=12345
set_up
for periods in 1 3 8; do
    echo "=== $periods periods"
    LENGTH=$((periods * 49152))
    on ep fill 1
    on rc fill 1 1 0 $LENGTH
    on rc cycle 1 $((TARGET[1] + OFFSET)) $LENGTH 49152
    comes 1
    on rc fill 1 2 0 $LENGTH
    comes 2
    wait_for 20 '100 periods' more_than 100

    on rc pause 1
    sleep 0.2
    before=$(moved)
    on rc fill 1 3 0 $LENGTH
    sleep 0.5
    same 'bytes moved in a pause' "$before" "$(moved)"
    on ep holds 1 2 $OFFSET $LENGTH
    on rc resume 1
    comes 3

    on rc terminate 1
    before=$(moved)
    on ep fill 1
    sleep 0.3
    same 'bytes moved after the end' "$before" "$(moved)"
    on ep holds 1
    moves 1 77 339 1000 $((periods + 10))
done

echo '=== more periods than the channel has descriptors for'
if rc "echo cycle 1 ${TARGET[1]} 170000 1000 >${CONTROL[rc]}" 2>said; then fail '170 periods were taken'; fi
grep -q 'Cannot allocate memory' said || fail "170 periods: $(cat said)"
on rc cycle 1 "${TARGET[1]}" 169000 1000
wait_for 20 'periods' more_than 10
on rc terminate 1
moves 1 1 1 1 1
rm said
