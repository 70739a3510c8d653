#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_ep_dma believes nothing that the other side's scratchpads say: what cannot be is refused, with nothing moved, and
# what was not sent is not found right. The RC itself writes them, since both sides' are memory behind its BAR.
#
# function: vntb-dma
# boot: own
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

CLIENT=/sys/kernel/debug/ntb_ep_dma/$FUNCTION
STATE=0 ADDR_LO=1 ADDR_HI=2 SIZE=3 SEQ=4 XFER_LEN=5
XFER_DONE=2

# Where the words are that the RC says, and after them those that the EP does: each its own scratchpads.
both modprobe ntb_ep_dma
rc_says=$(($(peek 0 0x28)))
ep_says=$((rc_says + 4 * $(peek 0 0x2c)))

# tells BASE WORD VALUE…: that side says this.
tells() {
    local base=$1
    shift
    while [ $# -gt 0 ]; do
        poke 0 $((base + 4 * $1)) "$2"
        shift 2
    done
}

# field SIDE KEY: of that side's result.
field() {
    "$1" "sed -n 's/^$2: //p' /sys/kernel/debug/ntb_ep_dma/*/result"
}

# not_ready WORD VALUE…: if the EP says this, the RC does not run.
not_ready() {
    local words=() before
    while [ $# -gt 0 ]; do
        before=$(peek 0 $((ep_says + 4 * $1)))
        words+=("$1" "$before")
        tells "$ep_says" "$1" "$2"
        shift 2
    done
    same "ready" 0 "$(rc "cat $CLIENT/ready")"
    if rc "echo 1 >$CLIENT/run"; then fail 'the RC ran'; fi
    same 'the status' -107 "$(field rc last_status)"
    tells "$ep_says" "${words[@]}"
}

rc "echo 1 >$CLIENT/run"
same 'a run before all that' pass "$(field rc peer_state)"

echo '=== what the EP cannot lend'
not_ready $STATE 0
not_ready $STATE 5
same 'a state that is none' 'pass' "$(field rc peer_state)"
not_ready $STATE 0xffffffff
not_ready $SIZE 0
not_ready $SIZE 4095
not_ready $ADDR_LO 0 $ADDR_HI 0
not_ready $ADDR_LO 0xfffff800 $ADDR_HI 0xffffffff

# verdict LENGTH TEXT: the RC says to have sent so many bytes, and the EP says that they are wrong, and why.
seq=100
verdict() {
    seq=$((seq + 1))
    listen ep
    tells "$rc_says" $XFER_LEN "$1" $SEQ $seq $STATE $XFER_DONE
    # Doorbell 0: what to write in BAR 4, and where.
    poke 4 "$(peek 0 0xbc)" "$(peek 0 0x3c)"
    wait_for 5 'the verdict' eval "[ \"\$(field rc peer_seq)\" = $seq ]"
    same 'the verdict' fail "$(field rc peer_state)"
    kernel_says ep "wrong transfer: $2"
    rc "echo 1 >$CLIENT/run"
    same 'a run after that' pass "$(field rc peer_state)"
}
echo '=== what the RC cannot have sent'
verdict 0 '0 bytes cannot have been sent'
verdict 4097 '4097 bytes cannot have been sent'
verdict 0xffffffff '4294967295 bytes cannot have been sent'
echo '=== what the RC did not send'
verdict 4096 'byte 0 is 0xff'
verdict 1 'byte 0 is 0xff'
both rmmod ntb_ep_dma
