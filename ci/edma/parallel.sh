#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# All eight channels at once, each with a list of its own, again and again: none waits for another's end, and each byte
# is where it belongs.
#
# function: none
# boot: shared
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/edma/edma.inc"

set_up
region=$((512 << 10))
place() { echo $(($1 * region + 2 * $1 + 1)); }
seed() { echo $(($1 + 11)); }

# What the readers find.
content=()
for channel in "${READERS[@]}"; do content+=("$(seed "$channel")" "$(place "$channel")" $((region / 2))); done
on_rc fill "${content[@]}"

all=
for channel in "${WRITERS[@]}" "${READERS[@]}"; do
    all+="echo start $channel $((ADDRESS + $(place "$channel"))) 339 750 $(seed "$channel") 400 >$TEST; "
done
ep "set -e; $all cat $TEST" | tee before
same 'channels that had not ended when the last one had begun' 8 "$(grep -c now= before || true)"

for channel in "${WRITERS[@]}" "${READERS[@]}"; do
    on_ep wait "$channel" 120000
    on_ep check "$channel"
done
for channel in "${WRITERS[@]}"; do
    content+=("$(seed "$channel")" "$(place "$channel")" "$(value "$channel" bytes)")
done
on_rc check "${content[@]}"
rm before
