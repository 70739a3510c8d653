#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC's doorbells are one kick: the embedded doorbell has one interrupt, which sets all bits on the EP, as on S4.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

tool_load
ep "dmesg | grep -q 'Using embedded (DMA) doorbell fallback'" || fail 'the EP has taken another doorbell than the embedded one'

emulated() {
    "$PAIR" inspect edma.read.emulated_interrupts
}
interrupts() {
    ep 'grep -w pci_epf_vntb_db /proc/interrupts' | awk '{ sum = 0; for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i; print sum }'
}

ep "echo c 0x3fff >$EP_TOOL/db"
for bit in 0 1 7 13; do
    kicks=$(emulated)
    before=$(interrupts)
    rc "echo s $((1 << bit)) >$RC_TOOL/peer_db"
    got=$(ep "n=0; until [ \$((\$(cat $EP_TOOL/db))) != 0 ]; do n=\$((n + 1)); [ \$n -lt 200 ] || break; sleep 0.05; done
        cat $EP_TOOL/db; echo c 0x3fff >$EP_TOOL/db")
    same "the EP's doorbells after the RC's doorbell $bit" 0x3fff "$got"
    same "writes to the eDMA's interrupt emulation for doorbell $bit" 1 $(($(emulated) - kicks))
    same "interrupts of the EP for doorbell $bit" 1 $(($(interrupts) - before))
    same "the EP's doorbells once cleared" 0x0 "$(ep "cat $EP_TOOL/db")"
done
