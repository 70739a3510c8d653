#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# What windows onto the peer's memory cost, trapped and at memory speed, in one run (`make bench`): memcpy through them
# against the same memcpy in the guest's own RAM, register writes, and the kernel's whole selftest.
#
# A driver can map a window as device memory or write-combining, as NTB drivers do (ioremap_wc). Under TCG each access to
# device memory is looked at for its alignment, which costs more than the access; "a BAR of QEMU's own", the RAM of an
# ivshmem device, shows as much. sysfs maps only prefetchable BARs write-combining, and those of an S4 are not: for the RC's
# there is what ntb_perf moves, by stores of 8 bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ $# -eq 0 ]; then
    cargo build --quiet --release -p pair -p qemu-device -p qemu-plugin
    figures=$(mktemp -d)
    trap 'rm -rf "$figures"' EXIT
    control='-object memory-backend-memfd,id=control,size=1M,share=on -device ivshmem-plain,memdev=control'
    for mode in trap fast; do
        cargo run --quiet --release -p pair -- run --windows $mode --qemu-opts "$control" -- "$0" --inside $mode "$figures" ||
            { echo "the run in mode $mode failed" >&2; exit 1; }
    done
    cargo run --quiet --release -p pair -- run --windows fast --function vntb -- "$0" --ntb-perf "$figures" ||
        { echo "the run with ntb_perf failed" >&2; exit 1; }
    of() { cat "$figures/$1"; }
    times() { awk -v a="$(of "$1")" -v b="$(of "$2")" 'BEGIN { printf "%.2f", a / b }'; }
    row() { printf '%-34s %10s %10s %8s  %s\n' "$@"; }
    echo "# windows, MB/s (10^6 bytes) by memcpy, and as parts of the same memcpy in RAM"
    row '' trap fast fast/RAM ''
    row "EP's window, write-combining, write" "$(of trap-ep-wc-to)" "$(of fast-ep-wc-to)" "$(times fast-ep-wc-to fast-ep-wc-ram)" '(at least 0.5)'
    row "EP's window, write-combining, read" "$(of trap-ep-wc-from)" "$(of fast-ep-wc-from)" "$(times fast-ep-wc-from fast-ep-wc-ram)" '(at least 0.5)'
    row "RC's BAR 2, ntb_perf, write" '' "$(of fast-rc-ntb-perf)" "$(times fast-rc-ntb-perf fast-rc-ram)" ''
    for side in ep rc; do
        [ $side = ep ] && what="EP's window" || what="RC's BAR 2"
        row "$what, write" "$(of trap-$side-to)" "$(of fast-$side-to)" "$(times fast-$side-to fast-$side-ram)" ''
        row "$what, read" "$(of trap-$side-from)" "$(of fast-$side-from)" "$(times fast-$side-from fast-$side-ram)" ''
        row "a BAR of QEMU's own, write" '' "$(of fast-$side-control-to)" "$(times fast-$side-control-to fast-$side-control-ram)" ''
        row "a BAR of QEMU's own, read" '' "$(of fast-$side-control-from)" "$(times fast-$side-control-from fast-$side-control-ram)" ''
        row 'RAM to RAM' '' "$(of fast-$side-ram)" '' ''
    done
    echo '# the rest, trap and fast'
    row '' trap fast ratio ''
    row 'eDMA register write, issued, ns' "$(of trap-issued)" "$(of fast-issued)" "$(times fast-issued trap-issued)" '(within 10 %)'
    row 'eDMA register write, drained, ns' "$(of trap-drained)" "$(of fast-drained)" "$(times fast-drained trap-drained)" '(within 10 %)'
    row 'the selftest, s' "$(of trap-selftest)" "$(of fast-selftest)" "$(times trap-selftest fast-selftest)" '(at least 20)'
    exit
fi

figure() { awk -v name="$1" '$1 == name { print $2 }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

if [ "$1" = --ntb-perf ]; then
    for side in ep rc; do "$side" modprobe ntb_perf total_order=28 chunk_order=19; done
    sleep 2
    for _ in {1..5}; do
        rc 'run=$(ls /sys/kernel/debug/ntb_perf/*/run); echo 0 >$run; cat $run'
    done | sed -nE 's/.* ([0-9]+) MBytes.*/\1/p' | median >"$2/fast-rc-ntb-perf"
    exit
fi

mode=$2
figures=$3/$mode
case $mode in
    trap) size=0x1000 ;;
    fast) size=0x40000 ;;
esac
face=$(ep 'dirname "$(ls /sys/bus/pci/drivers/spider_bridge/*/resource2)"')
bar2=/sys/bus/pci/devices/0000:01:00.0/resource2
window=0x200000
# done_imwr of the eDMA (abi/src/edma.rs): it keeps what is written to it.
register=0x5060

# Memory of the RC for the EP's window to lead to, as long as this runs.
coproc HOLD { exec rc window hold 1 0x40000; }
read -t 60 -r -u "${HOLD[0]}" address
ep window open 15 $window 0x40000 "$address"

copies() { # SIDE NAME FILE OFFSET
    "$1" "mmio copy $3 $4 $size 3" >"$figures-copy"
    for what in to from ram; do figure ${what}_mbs <"$figures-copy" >"$figures-$2-$what"; done
}
copies ep ep-wc "$face/resource2_wc" $window
copies ep ep "$face/resource2" $window
copies rc rc $bar2 0
for side in ep rc; do
    control=$("$side" 'dirname "$(grep -l 0x1110 /sys/bus/pci/devices/*/device)"')
    [ "$mode" = trap ] || copies "$side" "$side-control" "$control/resource2" 0
done

for _ in {1..9}; do
    ep "mmio write $face/resource0 $register 20000" >"$figures-write"
    figure issued_ns <"$figures-write" >>"$figures-issued-all"
    figure drained_ns <"$figures-write" >>"$figures-drained-all"
done
median <"$figures-issued-all" >"$figures-issued"
median <"$figures-drained-all" >"$figures-drained"

ep window close 15
begun=$(date +%s.%N)
rc pci_endpoint_test >"$figures-said" 2>&1 || true
awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f\n", b - a }' >"$figures-selftest"
tail -1 "$figures-said" | sed "s/^/# $mode: /" >&2
