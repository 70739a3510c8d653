#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A transfer that goes round a memory of one or two periods, on channels whose completions have to be looked for: the
# client hears of its periods. A channel's pointer would never move if the list had one element.
#
# function: vntb-dma
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

# more_than COUNT: periods that were told.
more_than() {
    [ "$(value 0 periods)" -gt "$1" ]
}

drive dw_edma_aux poll=1
for periods in 1 2; do
    echo "=== $periods periods"
    on ep fill 0
    on rc fill 0 $periods 0 $((periods * 49152))
    on rc cycle 0 "${TARGET[0]}" $((periods * 49152)) 49152
    wait_for 20 '20 periods' more_than 20
    on rc terminate 0
    on ep holds 0 $periods 0 $((periods * 49152))
done
