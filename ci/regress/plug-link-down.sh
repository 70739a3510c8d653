#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The link goes down while QEMU plugs the function: it is plugged all the same, or not begun with.
#
# boot: none
# tier: ci
# timeout: 900
. "$SUITE/lib.sh"
. "$SUITE/regress/plug.inc"
own_runtime

export SPIDER_PAIR_PLUGS=60
plugged the_link_goes_down_meanwhile
