#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# qemu-device is killed under an EP that reads its window at memory speed: both guests run on, the EP reads all ones.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"
killed_under_the_ep qemu-device
