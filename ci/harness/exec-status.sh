#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ep and rc give the command's own status, signals included, and keep stdout and stderr apart.
#
# boot: shared
# timeout: 60
. "$SUITE/lib.sh"

for side in ep rc; do
    for wanted in 0 1 4 42 255; do
        status=0
        "$side" "exit $wanted" || status=$?
        same "$side's exit status" "$wanted" "$status"
    done
    status=0
    "$side" 'kill -TERM $$' || status=$?
    same "$side's status of a command that SIGTERM ended" 143 "$status"
    status=0
    "$side" /no/such/program 2>stderr || status=$?
    same "$side's status of a command that is not there" 127 "$status"
    grep -q /no/such/program stderr || fail "$side lost the shell's message"

    "$side" 'echo out; echo err >&2' >stdout 2>stderr
    same "$side's stdout" out "$(cat stdout)"
    same "$side's stderr" err "$(cat stderr)"
    same "$side's stdin" 'typed here' "$(echo 'typed here' | "$side" cat)"
    same "words of $side" "a  b" "$("$side" echo '"a  b"')"
done
same "the EP's machine" aarch64 "$(ep uname -m)"
rm stdout stderr
