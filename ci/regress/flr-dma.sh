#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC resets the function that exports the EP's channels, by FLR and by its bus: after each, a transfer by its driver as loaded.
#
# function: vntb-dma
# boot: own
# tier: ci
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/regress/flr.inc"

the_methods flr bus
ep modprobe ntb_ep_dma
rc modprobe ntb_ep_dma
client=/sys/kernel/debug/ntb_ep_dma/$FUNCTION
wait_for 20 'both clients to be ready' rc "grep -qx 1 $client/ready"
# A transfer by the driver as it is: nothing is loaded anew.
run="cd $client; echo 1 >run && grep -qx 'last_status: 0' result"
rc "$run" || fail 'no transfer before the first reset'
reset_by flr 20 "$run"
reset_by bus 5 "$run"
