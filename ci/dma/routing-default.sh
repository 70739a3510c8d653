#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Channels whose completions both sides are told: the EP's own driver acknowledges what it has nothing to do with, and
# the RC's loses nothing by that.
#
# function: vntb-dma
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

route default
drive
same 'rd_int_mask of the four channels' 0x0 "$(masked)"

each_delivers_twice
[ "$(interrupts ep dw-edma-core)" -ge $((on_ep + 4)) ] || fail "the EP was not interrupted for each"
same "interrupts of the RC's channels" $((on_rc + 4)) "$(interrupts rc dw_edma_aux)"
same 'what the EP left of rd_int_status' 0x0 "$(read_engine int_status)"
