#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A command of the RC gets its own answer or none: not that of one that came before it, be it of a driver that is gone or
# of one that the RC gave up. What was refused because it came too early is tried again.
#
# function: vntb-dma
# boot: own
# timeout: 400
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

COMMAND=0x00 ARGUMENT=0x04 COMMAND_STATUS=0x08
: $ARGUMENT
# A status has 16 bits, and the link's state is above it.
status() {
    echo $(($(peek 0 $COMMAND_STATUS) & 0xffff))
}

echo '=== an answer that nobody took'
rc modprobe -r ntb_hw_epf
for answer in 1 2; do
    rc "setpci -s $FUNCTION COMMAND=2:2"
    poke 0 $COMMAND_STATUS $answer
    rc 'modprobe ntb_hw_epf'
    rc "test -e /sys/bus/ntb/devices/$FUNCTION" || fail "the probe took answer $answer for its own"
    same 'the command that the probe waited for' 0 $(($(peek 0 $COMMAND)))
    rc modprobe -r ntb_hw_epf
done
rc modprobe ntb_hw_epf

echo '=== the RC goes under a command'
for _ in 1 2 3; do
    before=$(boot_id rc)
    rc 'setsid modprobe ntb_ep_dma </dev/null >/dev/null 2>&1 & sleep 0.06; echo b >/proc/sysrq-trigger' || true
    wait_for 90 'the RC guest to be up again' rebooted rc "$before"
    wait_for 30 "the new kernel's driver to probe" rc test -e "/sys/bus/ntb/devices/$FUNCTION"
done

echo '=== the EP sleeps under a command'
tool_load
ep_qemu=$(pgrep -f -- "qemu-system-aarch64.*$(sed -nE 's/.*"sockets": "([^"]+)".*/\1/p' "$SPIDER_PAIR_RUN/run.json")/ep")
ep_qemu=${ep_qemu%%$'\n'*}
# asleep COMMAND: the RC's command has no answer.
asleep() {
    local said=0
    kill -STOP "$ep_qemu"
    rc "$1" || said=$?
    kill -CONT "$ep_qemu"
    [ "$said" != 0 ] || fail "the RC had an answer of an EP that sleeps: $1"
}
asleep "echo N >$RC_TOOL/link"
for _ in 1 2 3 4; do
    for link in Y N; do
        rc "echo $link >$RC_TOOL/link"
        link_is $link
    done
done

# The buffer was freed when that failed.
asleep "echo 4096 >$RC_TOOL/peer0/mw_trans0"
sleep 1
same 'windows of the EP' 0 "$("$PAIR" inspect iatu.outbound | grep -c 'base:' || true)"

echo '=== too early'
# The EP reads no address in BAR 2 when the command comes, and a moment later it does.
bar=$(rc "setpci -s $FUNCTION BASE_ADDRESS_2")
rc "modprobe -r ntb_tool; modprobe -r ntb_hw_epf; modprobe ntb_hw_epf; modprobe ntb_tool
    setpci -s $FUNCTION BASE_ADDRESS_2=0
    { sleep 0.8; setpci -s $FUNCTION BASE_ADDRESS_2=$bar; } & echo Y >$RC_TOOL/link; status=\$?; wait; exit \$status"
link_is Y

# Nor does it last for ever.
rc "echo N >$RC_TOOL/link; setpci -s $FUNCTION BASE_ADDRESS_2=0"
rc "modprobe -r ntb_tool; modprobe -r ntb_hw_epf; modprobe ntb_hw_epf; modprobe ntb_tool"
if rc "echo Y >$RC_TOOL/link"; then fail 'a link through a BAR that has no address'; fi
rc "setpci -s $FUNCTION BASE_ADDRESS_2=$bar; echo Y >$RC_TOOL/link"
link_is Y

echo '=== an export that was refused'
rc "echo N >$RC_TOOL/link"
poke 2 $SLICE 0x12345678
listen rc
rc_reload
kernel_says rc 'DMA export refused: DMA header: magic 0x12345678'
same 'devices of exported channels' '' "$(rc 'ls /sys/bus/auxiliary/devices')"
poke 2 $SLICE 0x4d445045
rc "echo N >$RC_TOOL/link; echo Y >$RC_TOOL/link"
kernel_says rc '4 DMA channels in BAR 2'
same 'devices of exported channels' ntb_hw_epf.ep_dma_v1 "$(rc 'ls /sys/bus/auxiliary/devices' | sed 's/\.[0-9]*$//')"
