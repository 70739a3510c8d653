#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Without the library, or with one that QEMU cannot load, windows trap and one line says why; who asks for that hears nothing.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

# A runner that stands in no cargo target directory builds nothing.
mkdir bin
cp "$(readlink -f "$PAIR")" bin/pair
cp "$(dirname "$(readlink -f "$PAIR")")/qemu-device" bin/
PAIR=$PWD/bin/pair
line='windows: trap, each access is a message'

trapped() {
    same 'the lines' 1 "$(grep -cF "$line" said)"
    grep -qF '"mode": "trap"' "$SPIDER_PAIR_RUNS/latest/run.json" || fail 'run.json says otherwise'
    ! grep -q -- '-plugin' "$SPIDER_PAIR_RUNS/latest/commands.sh" || fail 'QEMU is given a library'
}

echo '=== no library'
pair_run 0 --function epf-test -- rc pci_endpoint_test -r pci_ep_bar.BAR4.BAR_TEST
says "$line (right, and slow): there is no $PWD/bin/libspider_windows.so"
trapped

echo '=== a library that is none'
echo nonsense >bin/libspider_windows.so
pair_run 0 --function none -- true
says 'QEMU cannot load libspider_windows.so: '
trapped

echo '=== trap, as asked'
pair_run 0 --function none --windows trap -- true
! grep -F "$line" said || fail 'the user knows'
rm -r bin said
