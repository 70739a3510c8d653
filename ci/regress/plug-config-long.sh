#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Whatever the EP writes to configuration space, a QEMU that plugs the function survives it: 3,000 times.
#
# boot: none
# tier: soak
# timeout: 1800
. "$SUITE/lib.sh"
. "$SUITE/regress/plug.inc"
own_runtime

export SPIDER_PAIR_PLUGS=3000
plugged whatever_configuration_space_the_ep_writes whatever_the_ep_writes_meanwhile
