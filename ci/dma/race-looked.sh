#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC's half of the answer to the race alone: the EP's handler acknowledges everything, as in dma.race-shown, but the
# RC takes completions from the channels themselves. The same load, and no completion is lost.
#
# function: vntb-dma
# boot: own
# tier: soak
# timeout: 600
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

route default
drive dw_edma_aux
beaten 500 2000 1
