#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, scratchpad_test: the RC writes.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_tool_test 100 <<'END'
scratchpad_test "$REMOTE_PEER_TOOL" "$LOCAL_PEER_TOOL"
END
