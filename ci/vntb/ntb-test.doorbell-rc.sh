#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, doorbell_test: the RC rings.
#
# function: vntb
# xfail: the embedded doorbell is one kick for all bits
# xfail-match: ^Doorbell doesn't match expected value
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_tool_test 60 <<'END'
doorbell_test "$REMOTE_TOOL" "$LOCAL_TOOL"
END
