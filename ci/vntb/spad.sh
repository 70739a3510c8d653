#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# All 128 scratchpads of each side hold what the other side wrote, each its own, and the own ones stay apart.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

tool_load

# fill SIDE TOOL BASE: BASE + n to scratchpad n of the peer.
fill() {
    "$1" "for n in \$(seq 0 127); do echo \$(($3 + n)) >$2/peer0/spad\$n || exit 1; done"
}

# holds SIDE DIRECTORY BASE WHAT: scratchpad n there is BASE + n.
holds() {
    local wrong
    wrong=$("$1" "for n in \$(seq 0 127); do v=\$(cat $2/spad\$n); [ \$((v)) = \$(($3 + n)) ] || echo spad\$n \$v; done")
    [ -z "$wrong" ] || fail "$4 are not $3 + n: $(head -3 <<<"$wrong")"
}

same "the RC's scratchpads" 128 "$(rc "ls $RC_TOOL | grep -c ^spad")"
same "the EP's scratchpads" 128 "$(ep "ls $EP_TOOL | grep -c ^spad")"
fill rc "$RC_TOOL" 0x5a000000
fill ep "$EP_TOOL" 0x7fffff00
holds ep "$EP_TOOL" 0x5a000000 "the EP's scratchpads, written by the RC,"
holds rc "$RC_TOOL" 0x7fffff00 "the RC's scratchpads, written by the EP,"
holds rc "$RC_TOOL/peer0" 0x5a000000 "the EP's scratchpads, read by the RC,"
holds ep "$EP_TOOL/peer0" 0x7fffff00 "the RC's scratchpads, read by the EP,"
