#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# What the whole path costs, from a guest's instruction to the device and back, as ratios against a bare round trip
# between two processes, measured in turns in the same run (`make bench`). Boots a pair of its own.
#
# The guests map BARs from sysfs and time their own accesses (guest-common/agent, `mmio`):
# - EP register: a read of the DBI's first word, through the EP face's BAR 0;
# - RC register: a read of BAR 0 of the function, which an inbound iATU region leads to the EP's RAM;
# - posted write: writes to BAR 2 of the function, and one read behind the last.
# Windows trap, or the last two would not reach the device.
set -euo pipefail
cd "$(dirname "$0")/../.."
. ci/device.inc

if [ "${1-}" != --inside ]; then
    cargo build --quiet --release -p pair -p qemu-device -p qemu-plugin
    echo "# phases of the boot, warm"
    cargo run --quiet --release -p pair -- run -- true
    cargo run --quiet --release -p pair -- run --windows trap -- "$0" --inside
    exit
fi

rounds=5
reads=2000
writes=20000
function=/sys/bus/pci/devices/0000:01:00.0
ep_face=$(ep 'dirname /sys/bus/pci/drivers/spider_bridge/*/resource0')

bare() { cargo bench --quiet -p qemu-device --bench vfio_user -- --json 2>/dev/null; }
field() { sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p"; }
figure() { awk -v name="$1" '$1 == name { print $2 }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for _ in $(seq "$rounds"); do
    bare | field bare_us >>"$SPIDER_PAIR_RUN/bench-bare"
    ep "mmio read $ep_face/resource0 0 $reads" | figure read_ns >>"$SPIDER_PAIR_RUN/bench-ep-read"
    rc "mmio read $function/resource0 0 $reads" | figure read_ns >>"$SPIDER_PAIR_RUN/bench-rc-read"
    rc "mmio write $function/resource2 0 $writes" >"$SPIDER_PAIR_RUN/bench-write"
    figure issued_ns <"$SPIDER_PAIR_RUN/bench-write" >>"$SPIDER_PAIR_RUN/bench-issued"
    figure drained_ns <"$SPIDER_PAIR_RUN/bench-write" >>"$SPIDER_PAIR_RUN/bench-drained"
done
bare_us=$(median <"$SPIDER_PAIR_RUN/bench-bare")
row() {
    awk -v what="$1" -v ns="$(median <"$SPIDER_PAIR_RUN/bench-$2")" -v bare="$bare_us" -v goal="$3" \
        'BEGIN { printf "%-22s %8.2f us  %6.3f x bare%s\n", what, ns / 1000, ns / 1000 / bare, goal ? "  (at most " goal ")" : "" }'
}
echo "# through the whole path; medians of $rounds rounds in turn, $reads reads or $writes writes each"
printf '%-22s %8.2f us\n' bare "$bare_us"
row "EP register read" ep-read 1.0
row "RC BAR 0 read" rc-read 1.0
row "posted write, issued" issued ""
row "posted write, drained" drained 0.07

before=$(device_ticks)
sleep 5
after=$(device_ticks)
echo "# the device process, guest RAM aside"
awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" \
    'BEGIN { printf "%-22s %8.2f %% of one core over 5 s\n", "idle", ticks / hz / 5 * 100 }'
awk '/^RssAnon|^RssFile/ { kib += $2 }
    END { printf "%-22s %8.1f MiB  (under 32)\n", "resident", kib / 1024 }' "/proc/$(device_pid)/status"
