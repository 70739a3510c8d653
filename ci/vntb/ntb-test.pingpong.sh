#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, pingpong_test.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_test 60 <<'END'
ntb_pingpong_tests
END
