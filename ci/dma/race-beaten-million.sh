#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# dma.race-beaten with a million transfers.
#
# function: vntb-dma
# boot: own
# tier: soak
# timeout: 3600
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

drive
beaten 1000 4000 50
