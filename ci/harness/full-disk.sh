#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A full disk under runs/ ends the run with 125 and is said once. A runner whose path has a space and a colon has windows
# at memory speed.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

how=-m
[ "$(id -u)" = 0 ] || how=-Urm
mkdir full
echo "\$ pair run, on a disk of 64 KiB"
status=0
unshare "$how" sh -c 'mount -t tmpfs -o size=64k full "$1" && shift && exec "$@"' sh "$PWD/full" \
    "$PAIR" run --function epf-test --runs "$PWD/full" -- sleep 60 >said 2>&1 </dev/null || status=$?
cat said
same 'the exit status' 125 "$status"
same 'lines that say so' 1 "$(grep -c 'No space left' said)"
says 'cannot write'
nothing_left

echo '=== a path with a space and a colon'
mkdir 'a b:c'
for file in pair qemu-device libspider_windows.so; do
    cp "$(dirname "$(readlink -f "$PAIR")")/$file" 'a b:c/'
done
PAIR=$PWD/'a b:c/pair'
pair_run 0 --function none -- true
! grep -F 'windows: trap' said || fail 'windows trap'
grep -qF '"mode": "fast"' "$SPIDER_PAIR_RUNS/latest/run.json" || fail 'run.json says otherwise'
rm -r full 'a b:c' said
