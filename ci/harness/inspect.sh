#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# pair inspect shows the link, and --json is JSON; a path that is none is refused.
#
# boot: shared
# timeout: 60
. "$SUITE/lib.sh"

"$PAIR" inspect
same 'link.up' true "$("$PAIR" inspect link.up --json)"
"$PAIR" inspect --json | head -c 1 | grep -qx '{' || fail '--json does not begin an object'
status=0
"$PAIR" inspect no.such.path >said 2>&1 || status=$?
cat said
same 'the exit status for a path that is none' 125 "$status"
rm said
