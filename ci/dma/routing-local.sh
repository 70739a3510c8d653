#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Channels whose completions are the EP's alone: the RC gets no message, looks for the end by itself, and finds it. And
# each channel has a routing of its own.
#
# function: vntb-dma
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/routing.inc"

route local
drive
same 'rd_int_mask of the four channels' 0x0 "$(masked)"
on_rc=$(interrupts rc dw_edma_aux)
for channel in "${CHANNELS[@]}"; do
    delivers "$channel" $((channel + 1)) 5000
    same "what the EP was told of channel $channel" 1 "$(notified "$channel" 'done')"
done
same "interrupts of the RC's channels" "$on_rc" "$(interrupts rc dw_edma_aux)"

echo '=== one of each, and the last name for the rest'
route local,default,remote
same 'dma_routing' local,default,remote "$(ep cat "$SETTINGS/pci_epf_vntb.0/dma_routing")"
drive
same 'rd_int_mask of the four channels' 0xc000c "$(masked)"
on_rc=$(interrupts rc dw_edma_aux)
for channel in "${CHANNELS[@]}"; do
    delivers "$channel" $((channel + 1)) 5000
done
same "interrupts of the RC's channels" $((on_rc + 3)) "$(interrupts rc dw_edma_aux)"
for channel in 1 2 3; do
    same "what the EP was told of channel $channel" 0 "$(notified "$channel" 'done')"
done
same 'what the EP was told of channel 0' 1 "$(notified 0 'done')"

echo '=== what is no routing'
rc 'rmmod spider_dma_test dw_edma_aux'
ep "echo 0 >$(epc)/start; rm $(epc)/func1"
for wrong in both Local remote,,local local, 0 remote,remote,remote,remote,remote,remote,remote,remote,remote; do
    if ep "echo $wrong >$SETTINGS/pci_epf_vntb.0/dma_routing" 2>/dev/null; then fail "dma_routing took $wrong"; fi
    same "dma_routing after $wrong" local,default,remote "$(ep cat "$SETTINGS/pci_epf_vntb.0/dma_routing")"
done
