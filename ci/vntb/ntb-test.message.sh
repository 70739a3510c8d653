#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, message_test: there are no message registers, which it says.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_tool_test 30 <<'END'
message_test "$LOCAL_PEER_TOOL" "$REMOTE_PEER_TOOL"
message_test "$REMOTE_PEER_TOOL" "$LOCAL_PEER_TOOL"
END
