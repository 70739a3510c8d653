#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# What posted writes cost in CPU time: a million by the RC's CPU to BAR 2, --windows trap, so that each is the device's to
# carry to the EP's RAM. All threads of the device against all threads of the RC's QEMU, guest included (`make bench`).
# Boots a pair of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
. ci/device.inc

if [ "${1-}" != --inside ]; then
    cargo build --quiet --release -p pair -p qemu-device -p qemu-plugin
    cargo run --quiet --release -p pair -- run --windows trap -- "$0" --inside
    exit
fi

rounds=3
writes=1000000
bar=/sys/bus/pci/devices/0000:01:00.0/resource2
sockets=$(sed -nE 's/.*"sockets": "([^"]+)".*/\1/p' "$SPIDER_PAIR_RUN/run.json")
qemu=$(pgrep -f "qemu-system-aarch64.*$sockets/rc" | head -1)
# utime and stime, in clock ticks; the name before them has no blanks here.
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

rc "mmio write $bar 0 $writes" >/dev/null # code warm
printf '%-8s %14s %14s %8s\n' bits device "RC's QEMU" ratio
status=0
for bits in 32 64; do
    before="$(device_ticks) $(ticks "$qemu")"
    for _ in $(seq $rounds); do
        rc "mmio write${bits#32} $bar 0 $writes" >/dev/null
    done
    echo "$before $(device_ticks) $(ticks "$qemu")" | awk -v bits=$bits -v hz="$(getconf CLK_TCK)" -v n=$((rounds * writes)) '{
        device = ($3 - $1) / hz / n * 1e9; qemu = ($4 - $2) / hz / n * 1e9
        printf "%-8s %11.0f ns %11.0f ns %8.2f  (at most 0.20)\n", bits, device, qemu, device / qemu
        exit device / qemu > 0.2 }' || status=1
done
exit $status
