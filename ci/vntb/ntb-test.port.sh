#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, port_test: each side finds the other among its peers.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_tool_test 30 <<'END'
port_test "$LOCAL_TOOL" "$REMOTE_TOOL"
END
