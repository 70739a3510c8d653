#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP's half of the answer to the race alone: the RC is as naive as in dma.race-shown, but dma_routing keeps the EP's
# handler away from the channels. The same load, and no completion is lost.
#
# function: vntb-dma
# boot: own
# tier: soak
# timeout: 600
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

drive spider_edma_naive
beaten 500 2000 1
