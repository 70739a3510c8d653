#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Results stand on lines of their own on a terminal, and `prove` takes them, with `--repeat TIME` as well.
#
# boot: none
# timeout: 60

. "$SUITE/lib.sh"
own_runtime

mkdir -p suite/a
printf '# Shows nothing, in a description\n# of two lines.\n# boot: none\nsleep 0.2\n' >suite/a/with-a-long-name.sh
printf '# Fails.\n# boot: none\nexit 3\n' >suite/a/b.sh
export SPIDER_PAIR_SUITE=$PWD/suite

same 'the description' 'Shows nothing, in a description of two lines.' "$("$PAIR" list | sed -n 's/.*ci  *\(Shows\)/\1/p')"

echo '=== on a terminal'
script -qec "'$PAIR' test" /dev/null </dev/null >said 2>&1 || true
# What the terminal shows: what stands before the last carriage return of a line is written over or cleared.
shown=$(sed -e 's/\r*$//' -e 's/.*\r//' -e 's/\x1b\[[0-9;]*[mK]//g' said)
echo "$shown"
for line in 'KTAP version 1' '1..2' 'not ok 1 a.b' 'ok 2 a.with-a-long-name' '1 passed, 1 failed'; do
    grep -qxF "$line" <<<"$shown" || fail "no line \"$line\""
done
grep -qF 'exit status 3 and no output' <<<"$shown" || fail 'nothing says how a.b ended'

echo '=== for prove'
command -v prove >/dev/null || skip 'no prove on this host'
printf '#!/bin/sh\nexec "%s" test --repeat 1s a.with-a-long-name 2>/dev/null\n' "$PAIR" >rounds
chmod +x rounds
prove -e '' ./rounds
rm -rf rounds suite said
