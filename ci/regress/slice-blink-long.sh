#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# regress.slice-blink with 200,000 transfers.
#
# function: vntb-dma
# boot: own
# tier: soak
# timeout: 3600
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/regress/slice-blink.inc"

survives 100
