#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC's QEMU is killed: the run ends with 125 and says so; the next one is none the worse.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
qemu_killed rc RC
