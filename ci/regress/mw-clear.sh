#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A memory window leads nowhere once its buffer may be somebody else's: what reads it gets all ones, and what writes it
# writes nothing. So when the EP's client takes its buffer back, and when a new driver comes to the RC after a reset.
#
# function: vntb-dma
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

# opens LOCAL TOOL REMOTE TOOL: the remote side has the local one's buffer in its window.
opens() {
    local address
    "$1" "echo 4096 >$2/peer0/mw_trans0; head -c 4096 /dev/zero | tr '\\0' x | dd bs=4k of=$2/peer0/mw0 2>/dev/null"
    address=$("$1" "sed -n 's/^DMA Address[ \t]*\(0x[0-9a-f]*\).*/\1/p' $2/peer0/mw_trans0")
    "$3" "echo $((address)):4096 >$4/peer0/peer_mw_trans0"
    same "what the $3 sees in its window" xxxxxxxx "$(in_window "$3" "$4")"
}

# in_window SIDE TOOL: the first bytes in its window.
in_window() {
    "$1" "dd if=$2/peer0/peer_mw0 bs=8 count=1 status=none | od -An -c | tr -d ' '"
}

tool_load
same 'a window without a buffer' $((0xffffffff)) $(($(peek 2 0)))
echo '=== the EP takes its buffer back'
for _ in 1 2; do
    opens ep "$EP_TOOL" rc "$RC_TOOL"
    ep "echo 0 >$EP_TOOL/peer0/mw_trans0"
    same "what the RC sees in its window" 377377377377377377377377 "$(in_window rc "$RC_TOOL")"
    rc "echo 0:0 >$RC_TOOL/peer0/peer_mw_trans0"
done
same 'the slice behind the window' $((0x4d445045)) $(($(peek 2 $SLICE)))

echo "=== the RC's client takes its buffer back"
opens rc "$RC_TOOL" ep "$EP_TOOL"
rc "echo 0 >$RC_TOOL/peer0/mw_trans0"
same 'what the EP sees in its window' 377377377377377377377377 "$(in_window ep "$EP_TOOL")"

echo '=== the RC is reset'
opens rc "$RC_TOOL" ep "$EP_TOOL"
before=$(boot_id rc)
rc 'echo b >/proc/sysrq-trigger' || true
wait_for 90 'the RC guest to be up again' rebooted rc "$before"
wait_for 60 'ntb_hw_epf to probe on the RC' rc test -e "/sys/bus/ntb/devices/$FUNCTION"
same 'what the EP sees in its window' 377377377377377377377377 "$(in_window ep "$EP_TOOL")"
same 'outbound windows' 0 "$("$PAIR" inspect iatu.outbound | grep -c 'base:.*0x' || true)"
same 'the link, as the EP sees it' N "$(ep "cat $EP_TOOL/peer0/link")"
ep "echo 0:0 >$EP_TOOL/peer0/peer_mw_trans0"
rc modprobe ntb_tool
rc "echo Y >$RC_TOOL/link"
link_is Y
