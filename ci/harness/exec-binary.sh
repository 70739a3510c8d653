#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Large binary streams pass unharmed, into each guest and out of it.
#
# boot: shared
# timeout: 120
. "$SUITE/lib.sh"

size=$((24 * 1024 * 1024 + 7))
head -c "$size" /dev/urandom >data
wanted=$(sha256sum <data)
for side in ep rc; do
    same "what the $side guest received" "$wanted" "$("$side" sha256sum <data)"
    same "what came back from the $side guest" "$wanted" "$("$side" cat <data | sha256sum)"
    same "bytes made in the $side guest" "$size" "$("$side" "head -c $size /dev/zero" | wc -c)"
done
same 'every byte there is' "$(for i in {0..255}; do printf "\\x$(printf %x "$i")"; done | sha256sum)" \
    "$(for i in {0..255}; do printf "\\x$(printf %x "$i")"; done | rc cat | sha256sum)"

echo '=== a reader that has seen enough ends the command'
begun=$SECONDS
rc 'yes' | head -n 3 >/dev/null || true
[ $((SECONDS - begun)) -lt 10 ] || fail 'yes went on without a reader'
rm data
