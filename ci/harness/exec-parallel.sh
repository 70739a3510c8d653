#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Many commands at once, on both guests: none waits for another, none loses its output.
#
# boot: shared
# timeout: 90
. "$SUITE/lib.sh"

jobs=()
for n in {1..12}; do
    for side in ep rc; do
        "$side" "sleep 1; seq -f '$side-$n-%g' 2000" >"$side.$n" &
        jobs+=($!)
    done
done
begun=$SECONDS
same 'a command beside the others' quick "$(rc echo quick)"
[ $((SECONDS - begun)) -lt 20 ] || fail 'a command waited for the others'
for job in "${jobs[@]}"; do wait "$job"; done
for n in {1..12}; do
    for side in ep rc; do
        same "lines of $side $n" 2000 "$(grep -c "^$side-$n-[0-9]*$" "$side.$n")"
    done
done
rm -- ep.* rc.*
