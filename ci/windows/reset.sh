#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The function is reset, and the RC reboots, under an EP that reads its window: the RC's memory, or all ones.
#
# function: epf-test
# boot: own
# options: --append-rc mem=384M
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"

# The RC's kernel knows nothing of this memory: it is filled through the window.
face=$(ep_face)/resource2
ep window open $REGION $OFFSET 0x10000 $SPARE
ep window fill "$face" $OFFSET 0x10000 5
at_memory_speed ep 2 $OFFSET "$face"
rc window fill "$BAR2" 0 0x10000 6

echo '=== the function is reset'
methods=$(rc cat "${BAR2%/*}/reset_method")
[ -n "$methods" ] || fail 'Linux knows no way to reset the function'
echo "by $methods"
watch ep "$face" 5
for round in {1..5}; do
    rc "echo 1 >${BAR2%/*}/reset"
    reads rc "$BAR2" 0 6 data
    reads ep "$face" $OFFSET 5 data
done
watched data

echo '=== the RC reboots'
before=$(boot_id rc)
watch ep "$face" 5
rc 'echo b >/proc/sysrq-trigger' || true
wait_for 90 'the RC guest to be up again' rebooted rc "$before"
wait_for 60 "the function's driver to probe on the RC" rc test -c /dev/pci-endpoint-test.0
reads ep "$face" $OFFSET 5 data
watched data ones
reads rc "$BAR2" 0 6 data
at_memory_speed ep 2 $OFFSET "$face"
at_memory_speed rc 2 0x0 "$BAR2"
