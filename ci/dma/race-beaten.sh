#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Ten thousand transfers on exported channels beside DMA and doorbells of the EP, under which the naive way loses
# completions (dma.race-shown): none is lost.
#
# function: vntb-dma
# boot: own
# timeout: 600
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

drive
beaten 500 2000 1
