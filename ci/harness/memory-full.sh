#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A guest whose memory is full goes on taking commands: what fills it ends first.
#
# function: none
# boot: own
# complaint: invoked oom-killer

. "$SUITE/lib.sh"

server=$(ep 'pgrep -o -f "spider-agent serve"')
# Many small ones: the largest is not the culprit, and each costs the agent its place in the kernel's ranking.
ep 'tail /dev/zero' && fail 'memory did not fill'
ep 'dmesg | grep -q "Out of memory: Killed process .*(tail)"' || fail 'the kernel ended something else'
same 'the command server' "$server" "$(ep 'pgrep -o -f "spider-agent serve"')"
same 'its rank' -1000 "$(ep "cat /proc/$server/oom_score_adj")"
same "a command's rank" 0 "$(ep 'cat /proc/self/oom_score_adj')"
