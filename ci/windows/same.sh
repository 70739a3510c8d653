#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The selftest says the same whether windows trap or not; where they do, at its smallest sizes.
#
# boot: none
# timeout: 400
. "$SUITE/lib.sh"

if [ "${1-}" = inside ]; then
    # Each line of the selftest's own that is a result or the reason of one.
    results() { { rc "$*" || true; } | grep -E '^(not )?ok |^# .*:Expected ' || true; }
    for test in bar.BAR{0,4}.BAR_TEST bar.BAR{0,4}.BAR_SUBRANGE_TEST bar.BAR{1,3,5}.BAR_TEST bar.BAR2.BAR_TEST \
        basic.LEGACY_IRQ_TEST basic.MSI_TEST basic.MSIX_TEST; do
        results pci_endpoint_test -r "pci_ep_$test"
    done
    few=
    # IRQ type set, then 1, 1024 and 1025 bytes: the later ioctls do not reach the driver.
    [ "$2" = fast ] || few='strace -f -qqq -e trace=ioctl -e inject=ioctl:retval=0:when=5+ -o /dev/null'
    for test in READ WRITE COPY; do
        results "$few" pci_endpoint_test -r "pci_ep_data_transfer.memcpy.${test}_TEST"
    done
    exit
fi

own_runtime
for mode in fast trap; do
    pair_run 0 --windows $mode -- bash "$SUITE/windows/same.sh" inside $mode
    grep -E '^(not )?ok |^# .*:Expected ' said >results.$mode || fail "no results in mode $mode"
    same 'mode' $mode "$(sed -nE 's/.*"mode": "([a-z]+)".*/\1/p' "$SPIDER_PAIR_RUNS/latest/run.json")"
done
same 'the number of results' 14 "$(grep -cE '^(not )?ok ' results.fast)"
diff -u results.trap results.fast || fail 'the modes differ'
rm results.* said
