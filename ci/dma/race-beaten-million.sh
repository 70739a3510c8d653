#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# dma.race-beaten with a million transfers.
#
# function: vntb-dma
# boot: own
# tier: soak
# timeout: 7200
. "$SUITE/lib.sh"
. "$SUITE/dma/routing.inc"

drive
beaten 500 2000 100
