#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Channels whose completions are the EP's alone: the RC gets no message, looks for the end by itself, and finds it. And
# each channel has a routing of its own.
#
# function: vntb-dma
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

route local
drive
same 'rd_int_mask of the four channels' 0x0 "$(masked)"
on_rc=$(interrupts rc dw_edma_aux)
for channel in "${CHANNELS[@]}"; do
    delivers "$channel" $((channel + 1))
    told "$channel" 1
done
same "interrupts of the RC's channels" "$on_rc" "$(interrupts rc dw_edma_aux)"

echo '=== one of each, and the last name for the rest'
route local,default,remote
same 'dma_routing' local,default,remote "$(ep cat $ROUTING)"
drive
same 'rd_int_mask of the four channels' 0xc000c "$(masked)"
on_rc=$(interrupts rc dw_edma_aux)
for channel in "${CHANNELS[@]}"; do
    delivers "$channel" $((channel + 1))
done
same "interrupts of the RC's channels" $((on_rc + 3)) "$(interrupts rc dw_edma_aux)"
for channel in 1 2 3; do
    told "$channel" 0
done
told 0 1

echo '=== what is no routing'
undrive
controller=$(epc)
ep "echo 0 >$controller/start; rm $controller/func1"
for wrong in both Local remote,,local local, 0 remote,remote,remote,remote,remote,remote,remote,remote,remote; do
    if ep "echo $wrong >$ROUTING" 2>/dev/null; then fail "dma_routing took $wrong"; fi
    same "dma_routing after $wrong" local,default,remote "$(ep cat $ROUTING)"
done
