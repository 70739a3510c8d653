#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_test.sh, link_test from the EP's side.
#
# function: vntb
# xfail: pci-epf-vntb cannot take its link down (link_disable does nothing), so the test waits for ever
# xfail-match: ^ntb_test.sh: no end within
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/vntb-ntb-test.sh"

ntb_tool_test 10 <<'END'
link_test "$LOCAL_PEER_TOOL" "$REMOTE_PEER_TOOL"
END
