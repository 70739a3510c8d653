#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A side that unloads ntb_ep_dma keeps its buffer for as long as the other says that it is amid a transfer, and not a
# moment longer. The other one is played by ntb_tool.
#
# function: vntb-dma
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/regress/ep-dma.inc"

# unloads SIDE PEER: the peer's transfer takes its time, and meanwhile SIDE goes.
unloads() {
    local side=$1 peer=$2
    echo "=== the $side goes amid a transfer of the $peer"
    "$side" modprobe ntb_ep_dma
    "$peer" modprobe ntb_tool
    rc "! test -e $(tool rc) || echo Y >$(tool rc)/link"
    wait_for 5 "the $side to lend" eval "[ \"\$(hears $peer $STATE)\" = $READY ]"
    says_words "$peer" $SEQ 1 $XFER_LEN $LENGTH $STATE $READY
    "$side" "setsid sh -c 'rmmod ntb_ep_dma; echo \$? >/tmp/gone' </dev/null >/dev/null 2>&1 &"
    wait_for 5 "the $side to take its buffer back" eval "[ \"\$(hears $peer $STATE) \$(hears $peer $SIZE)\" = '0 0' ]"
    sleep 1
    "$side" '! test -e /tmp/gone' || fail "the $side has gone, and the $peer has not said that its transfer is over"
    says_words "$peer" $STATE $XFER_DONE
    rings "$peer"
    wait_for 5 "the $side to go" "$side" test -e /tmp/gone
    same 'the status of rmmod' 0 "$("$side" 'cat /tmp/gone; rm /tmp/gone')"
    says_words "$peer" $XFER_LEN 0 $STATE 0
    "$peer" rmmod ntb_tool
}
unloads ep rc
unloads rc ep
