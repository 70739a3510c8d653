#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# TCP both ways where each access of a window is a message: the bursts of posted writes that packets are made of, of which
# QEMU puts many into one message, arrive whole and in order.
#
# function: vntb
# options: --net --windows trap
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

nc_file rc ep $EP_ADDRESS 2000001
nc_file ep rc $RC_ADDRESS 2000001
no_loss rc -c 5 -W 10 -s 65482 ep
no_loss ep -c 5 -W 10 -s 65482 rc
no_bad_packets
