#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A BAR of 128 MiB, twice as much as windows reach: what is within reach goes at memory speed, the rest by message.
#
# function: epf-test
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"
. "$SUITE/regress/regress.inc"

face=$(ep_face)
start=$(epc)/start
ep "echo 0 >$start"
wait_for 20 "$FUNCTION to go from the RC" rc "! test -e /sys/bus/pci/devices/$FUNCTION"
# What `dw_pcie_ep_set_bar_resizable` does for 128 MiB, which is 1 MiB << 7.
ep mmio poke "$face/resource0" "$DBI_MISC_CONTROL" 1
ep mmio poke "$face/resource0" "$REBAR_BAR0" $((1 << (7 + 4)))
ep mmio poke "$face/resource0" "$DBI_MISC_CONTROL" 0
ep "echo 1 >$start"
wait_for 30 "$FUNCTION to come back" rc test -e "/sys/bus/pci/devices/$FUNCTION"
rc "cat /sys/bus/pci/devices/$FUNCTION/resource"
size=$(rc stat -c %s "/sys/bus/pci/devices/$FUNCTION/resource0")
same 'the size of BAR 0' $((128 << 20)) "$size"

# It has not been dropped: what it can serve it does.
rc "setpci -s $FUNCTION COMMAND=6:6"
same 'drops of the RC'"'"'s library' 0 "$(pair inspect windows.rc.drops)"
! grep -a 'not pages of a BAR' "$SPIDER_PAIR_RUN/rc-qemu.log" || fail 'the library has hung up'
[ "$(mode)" = trap ] || wait_for 10 'memory to lie over BAR 0' lies_over rc 0 0x0
hold ep 1 0x100000 0x100000
region=$(inbound 2)
before=$(ep window lead "$region" "${HELD[0]}")
reads rc "$BAR2" 0 0 data
at_memory_speed rc 2 0x0 "$BAR2"
ep window lead "$region" "$before"
let_go
