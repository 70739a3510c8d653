#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC's QEMU is killed under an EP that reads its window: the EP runs on, and reads the RC's memory or all ones.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"
killed_under_the_ep qemu-system-aarch64 rc
