#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, mw_test: a window onto the EP.
#
# function: vntb
# xfail: ntb_tool takes an address in decimal, and ntb_test.sh gives it in hexadecimal
# xfail-match: write error: Invalid argument
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_tool_test 60 <<'END'
# ntb_tool must not be unloaded with a buffer (it removes its file twice).
trap 'write_file 0 "$LOCAL_PEER_TOOL/mw_trans0"' EXIT
mw_test "$LOCAL_PEER_TOOL" "$REMOTE_PEER_TOOL"
END
