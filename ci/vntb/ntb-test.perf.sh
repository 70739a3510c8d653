#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, perf_test: 16 MiB by the processor of each side.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_test 110 <<'END'
LOCAL_PIDX=0 REMOTE_PIDX=0
ntb_perf_tests
END
