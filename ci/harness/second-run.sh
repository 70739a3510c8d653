#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A second run builds nothing and fetches nothing: its artefacts are ready within 3 seconds.
#
# boot: none
# timeout: 120
. "$SUITE/lib.sh"
own_runtime

pair_run 0 --function none --json "$PWD/result.json" -- true
cat result.json
seconds=$(sed -nE 's/.*"artefacts_seconds": ([0-9]+)\..*/\1/p' result.json)
[ -n "$seconds" ] || fail 'the JSON does not tell how long the artefacts took'
[ "$seconds" -lt 3 ] || fail "the artefacts took $seconds s"
same 'the exit status in JSON' 0 "$(sed -nE 's/.*"exit": ([0-9]+).*/\1/p' result.json)"
logs_kept
rm result.json said
