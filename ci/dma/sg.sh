#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Scatter lists of one element to 1000, of odd sizes at odd addresses and in no order, go through an exported channel
# whole, and nothing else changes on the EP. A channel's descriptor memory holds 169 elements and a link, so 170, 338 and
# 339 are where it is filled anew.
#
# function: vntb-dma
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"
. "$SUITE/scatter.inc"

set_up
scatter 0 3
