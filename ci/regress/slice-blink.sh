#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Two thousand transfers of the RC through a slice, beside a client on the EP that gives the window in the same BAR one
# buffer after another: each brings what it should, to where it should.
#
# function: vntb-dma
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/regress/slice-blink.inc"

survives 1
