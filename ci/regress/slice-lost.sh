#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An EP whose slice vanishes now and then for a moment, as that of the published series does at each mw_set_trans: what the
# RC writes to descriptors and registers is lost then, and what it reads is all ones. No channel is given up, and what
# arrives is right.
#
# In trap mode: what is written to a window in the moment in which it is taken away is kept there for as long, and read
# back, which no hardware does.
#
# function: vntb-dma
# options: --windows trap
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/routing.inc"
. "$SUITE/regress/slice-blink.inc"

# region TARGET: the inbound region for addresses that leads there.
region() {
    "$PAIR" inspect iatu.inbound | awk -v target="$1" '$1 == "index:" { n = $2 } $1 == "match:" { by = $2 }
        $1 == "target:" && $2 == target && by == "address" { print n }'
}

# vanishes TARGET: the region that leads there leads nowhere for a tenth of the time, until the case ends.
vanishes() {
    local number
    number=$(region "$1")
    [ -n "$number" ] || fail "no region leads to $1: $("$PAIR" inspect iatu.inbound)"
    ep "window swing 100000000 $number $1 $1 $1 $1 $1 $1 $1 $1 $1 0x1000" >/dev/null 2>&1 &
    load+=($!)
}

drive
descriptors=$(printf '0x%x' "$(peek 2 $((SLICE + 0x30)))")
registers=$("$PAIR" inspect iatu.inbound | awk '$1 == "target:" { print $2 }' | grep -m1 -x '0x[0-9a-f]*5000')
trap 'rest; put_back' EXIT
vanishes "$descriptors"
vanishes "$registers"
moves_apart 1
rest
evidence | tee evidence
grep -qE ' lost=[1-9]' evidence || fail 'nothing was lost'
rm evidence
