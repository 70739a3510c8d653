#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# gdb stops both guests' kernels in their stock drivers, by name, from the first instruction and in mid-run.
#
# boot: none
# timeout: 2400
. "$SUITE/lib.sh"
own_runtime
own_kernel
export KERNEL_VARIANT=gdb

# The EP waits for gdb before its first instruction: the breakpoint is there before the driver is.
pair_start --function epf-test --gdb ep -- rc test -c /dev/pci-endpoint-test.0
wait_for 2000 'the EP to wait for gdb' grep -q 'waits for gdb' said
run=$(readlink -f "$SPIDER_PAIR_RUNS/latest")
export SPIDER_PAIR_RUN=$run
timeout 300 "$PAIR" gdb ep -batch \
    -ex 'hbreak rcar_gen4_pcie_start_link' -ex continue -ex backtrace -ex 'info symbol $pc' -ex 'delete' -ex detach \
    >ep-gdb 2>&1 </dev/null || { cat ep-gdb; fail "gdb failed on the EP"; }
cat ep-gdb
grep -qE '^#0 +rcar_gen4_pcie_start_link .*at .*pcie-rcar-gen4\.c:' ep-gdb ||
    fail 'gdb did not stop in rcar_gen4_pcie_start_link with its source line'
grep -qE '^#[0-9]+ .*dw_pcie_ep_start' ep-gdb || fail "the backtrace does not come from dw_pcie_ep_start"
pair_ends 0 120

echo '=== attached to a running RC'
pair_start --function epf-test -- sleep 600
run_up
export SPIDER_PAIR_RUN=$run
timeout 120 "$PAIR" gdb rc -batch -ex 'hbreak vfs_read' -ex continue -ex 'backtrace 3' -ex delete -ex detach \
    >rc-gdb 2>&1 </dev/null || { cat rc-gdb; fail 'gdb failed on the RC'; }
cat rc-gdb
grep -qE '^#0 +vfs_read .*at .*read_write\.c:' rc-gdb || fail 'gdb did not stop in vfs_read with its source line'
"$PAIR" rc true || fail 'the RC did not go on after gdb'
kill -INT "$pair_pid"
pair_ends 130 20
rm -f ep-gdb rc-gdb said
