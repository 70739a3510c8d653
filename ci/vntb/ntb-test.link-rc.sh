#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, link_test from the RC's side.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_tool_test 30 <<'END'
link_test "$REMOTE_PEER_TOOL" "$LOCAL_PEER_TOOL"
END
