#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC's DMA engine is unbound while clients hold its channels: what runs fails, so does what comes, and the channels can
# be released afterwards. The engine's memory outlives the release of its last channel, which the dmaengine goes on with;
# freed memory is poisoned here, so a look at it would be an oops.
#
# function: vntb-dma
# options: --append-rc slab_debug=FZP
# boot: own
# timeout: 300
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/delegated.inc"

DRIVER=/sys/bus/auxiliary/drivers/dw_edma_aux.dw_edma_aux

# engines: how many DMA engines with channels the RC has.
engines() {
    rc 'ls /sys/class/dma | sed "s/chan.*//" | sort -u | wc -l'
}

# gone SIDE MODULE: it goes at once.
gone() {
    "$1" "rmmod $2" || fail "$2 does not go from the ${1^^}"
}

for round in 1 2 3; do
    echo "=== unbound with clients, round $round"
    set_up
    child=$(rc "cd $DRIVER && echo ntb_hw_epf.*")
    busy
    rc "echo $child >$DRIVER/unbind"
    same 'engines of the RC' 0 "$(engines)"
    for channel in "${CHANNELS[@]}"; do
        running "$channel" && fail "channel $channel runs without an engine"
        if rc "echo start $channel ${TARGET[channel]} 1 100 1 >${CONTROL[rc]}" 2>/dev/null; then
            fail "channel $channel took a transfer without an engine"
        fi
    done

    echo '=== the last client goes'
    gone rc spider_dma_test
    # Its code is not needed for what is left of the engine.
    [ "$round" -lt 3 ] || gone rc dw_edma_aux

    echo '=== bound again'
    rc "modprobe dw_edma_aux; test -e $DRIVER/$child || echo $child >$DRIVER/bind"
    same 'engines of the RC' 1 "$(engines)"
    set_up
    for channel in "${CHANNELS[@]}"; do
        moves "$channel" 1001 20 1000 $((10 * round + channel + 1))
    done
    gone rc spider_dma_test
    gone ep spider_edma_test
done

echo '=== unbound and unloaded in between, with no client'
for round in 1 2 3 4 5; do
    rc "child=\$(cd $DRIVER && echo ntb_hw_epf.*); echo \$child >$DRIVER/unbind; rmmod dw_edma_aux; modprobe dw_edma_aux"
done
same 'engines of the RC' 1 "$(engines)"
