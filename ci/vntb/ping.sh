#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Pings of all sizes, one way, the other, and both at once: none lost, none damaged.
#
# function: vntb
# options: --net
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

for size in 0 56 1473 65482; do
    no_loss rc -c 10 -W 10 -s $size ep
    no_loss ep -c 10 -W 10 -s $size rc
done
no_loss ep -c 50 -W 10 -s 1000 -p 5aa5 rc &
other=$!
no_loss rc -c 50 -W 10 -s 1000 -p c33c ep
wait "$other" || fail 'the EP lost pings while the RC sent some'
no_bad_packets
