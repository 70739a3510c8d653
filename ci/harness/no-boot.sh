#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A guest that never boots ends the run with 124, and the message says what was waited for.
#
# boot: none
# timeout: 120
. "$SUITE/lib.sh"
own_runtime

for side in ep rc; do
    title="the ${side^^} guest"
    echo "=== $title is never started"
    begun=$SECONDS
    pair_run 124 --step-timeout 8 "--qemu-opts-$side=-S" -- true
    says "$title to boot"
    [ $((SECONDS - begun)) -lt 60 ] || fail 'it took much longer than its limit of 8 s'
    logs_kept
done

