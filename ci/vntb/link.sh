#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC takes the NTB's link down and up; both sides see it, and a waiter on the EP wakes.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

tool_load
for round in 1 2; do
    echo "=== down, round $round"
    ep "timeout 20 sh -c 'echo N >$EP_TOOL/peer0/link_event'" &
    waiter=$!
    rc "echo N >$RC_TOOL/link"
    wait "$waiter" || fail 'a waiter on the EP did not hear that the link went down'
    link_is N
    echo "=== up, round $round"
    ep "timeout 20 sh -c 'echo Y >$EP_TOOL/peer0/link_event'" &
    waiter=$!
    rc "echo Y >$RC_TOOL/link"
    wait "$waiter" || fail 'a waiter on the EP did not hear that the link came up'
    link_is Y
done
