#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, doorbell_test: the EP rings.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_tool_test 60 <<'END'
doorbell_test "$LOCAL_TOOL" "$REMOTE_TOOL"
END
