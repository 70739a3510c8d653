#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# pair run gives the status of its command, runs it on the host, and has a limit of its own.
#
# boot: none
# timeout: 240
. "$SUITE/lib.sh"
own_runtime

pair_run 0 --function none -- echo on the host
says 'on the host'
pair_run 7 --function none -- sh -c 'exit 7'
pair_run 143 --function none -- sh -c 'kill -TERM $$'
pair_run 3 --function none -- ep exit 3
pair_run 125 --function none -- /no/such/program
says '/no/such/program'

echo '=== the limit of the whole run'
begun=$SECONDS
pair_run 124 --function none --timeout 15 -- sleep 600
[ $((SECONDS - begun)) -lt 60 ] || fail 'it took much longer than its limit'
logs_kept
