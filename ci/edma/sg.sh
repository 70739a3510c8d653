#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Scatter lists of one element to 1000, of odd sizes at odd addresses and in no order, go both ways, whole, and nothing
# else changes. The driver's list holds 169 elements and a link, so 170, 338 and 339 are where it is written anew.
#
# function: none
# boot: shared
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/edma/edma.inc"
. "$SUITE/scatter.inc"

set_up
scatter 0 4
