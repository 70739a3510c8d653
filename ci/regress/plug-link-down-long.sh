#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The link goes down while QEMU plugs the function, 2,000 times.
#
# boot: none
# tier: soak
# timeout: 1800
. "$SUITE/lib.sh"
. "$SUITE/regress/plug.inc"
own_runtime

export SPIDER_PAIR_PLUGS=2000
plugged the_link_goes_down_meanwhile
