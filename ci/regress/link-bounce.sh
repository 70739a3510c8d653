#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An EP whose link bounces, once while the function is plugged and then without pause, does not end the run; the RC has
# the function of the link that stands, and neither log is filled.
#
# boot: none
# timeout: 300
. "$SUITE/lib.sh"
. "$SUITE/regress/regress.inc"
own_runtime

cat >bounce.sh <<'END'
set -eu
face=$(ep 'dirname "$(ls /sys/bus/pci/drivers/spider_bridge/*/resource2)"')
present='n=0; until [ -c /dev/pci-endpoint-test.0 ]; do sleep 0.1; n=$((n + 1)); [ $n -lt 300 ] || exit 1; done'
for round in 1 2 3 4 5; do
    # Down, up for 0.8 ms, down, up: QEMU is told to plug what has gone.
    ep mmio cycle "$face/resource0" "$LTSSM" 2 800 0 1
    sleep 0.$round
    ep mmio cycle "$face/resource0" "$LTSSM" "$BOUNCES" 0 0 1
done
# Unplugging may take the guest's five seconds.
sleep 10
rc "$present"
rc lspci -n -s 01:00.0
rc pci_endpoint_test -r pci_ep_basic.MSI_TEST
END
export LTSSM BOUNCES=${BOUNCES:-3000}
pair_run 0 --function epf-test -- sh "$PWD/bounce.sh"
says '1912:0031'
says 'ok 1 pci_ep_basic.MSI_TEST'
for log in device.log timeline.log; do
    size=$(stat -Lc %s "$SPIDER_PAIR_RUNS/latest/$log")
    echo "$log has $size bytes"
    [ "$size" -lt 1000000 ] || fail "$log has $size bytes"
done
grep -q 'more such lines were left out' "$SPIDER_PAIR_RUNS/latest/device.log" || fail 'the link did not bounce fast enough to show anything'
rm bounce.sh said
