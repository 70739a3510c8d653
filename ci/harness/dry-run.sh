#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# --dry-run prints command lines that boot both guests when a shell runs them, and boots nothing itself.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

"$PAIR" run --dry-run --function epf-test >lines 2>said </dev/null || fail "pair run --dry-run failed: $(cat said)"
cat lines
sh -n lines || fail 'a shell cannot read the lines'
for word in qemu-device qemu-system-aarch64; do
    grep -q "$word" lines || fail "no line starts $word"
done
nothing_left

echo '=== a shell runs them'
# Each console in a file of its own: in one, two kernels in step mix their letters.
sed -E 's/(-name (ep|rc),.*) &$/\1 >\2.console \&/' lines >apart
same 'consoles' 2 "$(grep -c '\.console &$' apart)"
setsid sh apart >said 2>&1 </dev/null &
pair_pid=$!
both_up() { grep -aq 'Linux version' ep.console && grep -aq 'Linux version' rc.console; }
wait_for 60 'both kernels to greet' both_up
kill -KILL -- "-$pair_pid"
wait "$pair_pid" || true
rm -f lines apart *.console said
