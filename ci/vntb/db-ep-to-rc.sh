#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Each of the EP's 14 doorbells sets its own bit on the RC, by its own MSI, once.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

tool_load
same "the RC's doorbells" 0x3fff "$(rc "cat $RC_TOOL/db_valid_mask")"

# The interrupts of the function's vectors so far, in order of the vectors.
counts() {
    rc "grep -w ntb_epf /proc/interrupts" | awk '{ sum = 0; for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i; print sum }'
}

rc "echo c 0x3fff >$RC_TOOL/db"
before=$(counts)
same "vectors of the function" 16 "$(wc -l <<<"$before")"
for bit in {0..13}; do
    wanted=$(printf '%#x' $((1 << bit)))
    ep "echo s $wanted >$EP_TOOL/peer_db"
    got=$(rc "n=0; until [ \$((\$(cat $RC_TOOL/db))) != 0 ]; do n=\$((n + 1)); [ \$n -lt 200 ] || break; sleep 0.05; done
        cat $RC_TOOL/db; echo c 0x3fff >$RC_TOOL/db")
    same "the RC's doorbells after the EP's doorbell $bit" "$wanted" "$got"
done
# Vector 0 is for link events and 1 is spare: neither has had one.
moved=$(paste <(echo "$before") <(counts) | awk '{ printf "%d ", $2 - $1 }')
same 'interrupts of each vector' '0 0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 ' "$moved"
