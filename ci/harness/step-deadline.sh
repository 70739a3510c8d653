#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A step ends at its deadline, not after another look at the guest; a log that quotes a panic ends nothing.
#
# boot: none
# timeout: 120

. "$SUITE/lib.sh"
own_runtime

echo '=== a driver that does not come'
mkdir -p overlay/etc/modprobe.d
echo 'install pci_endpoint_test /bin/true' >overlay/etc/modprobe.d/none.conf
pair_run 124 --function epf-test --step-timeout 15 --overlay "rc:$PWD/overlay"
says '/dev/pci-endpoint-test.0 on the RC'
latest=$(readlink -f "$SPIDER_PAIR_RUNS/latest")
took=$(sed -nE 's/^\[ *([0-9.]+)\] pair *\| (link up|the run ends)$/\1/p' "$latest/timeline.log" |
    awk 'NR == 1 { up = $1 } END { printf "%d", $1 - up }')
[ "$took" -lt 18 ] || fail "a step of 15 s took $took s"
rm -r overlay

echo '=== a quoted panic'
pair_run 0 --function none -- sh -c '
    ep "echo \"<1>Kernel panic - not syncing: of another boot\" >/dev/kmsg"
    rc "echo \"see: Kernel panic - not syncing: x\" >/dev/console"
    sleep 4; ep true && rc true'
grep -q 'Kernel panic - not syncing: of another boot' "$SPIDER_PAIR_RUNS/latest/ep.log" || fail 'the console does not quote it'
