#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Channels whose completions are the RC's alone, as is the default: each comes as a message to the RC, and the EP's
# interrupt line stays low.
#
# function: vntb-dma
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

same 'dma_routing' remote "$(ep cat $ROUTING)"
drive
same 'rd_int_mask of the four channels' 0xf000f "$(masked)"

each_delivers_twice
same "interrupts of the EP's eDMA" "$on_ep" "$(interrupts ep dw-edma-core)"
same "interrupts of the RC's channels" $((on_rc + 4)) "$(interrupts rc dw_edma_aux)"
