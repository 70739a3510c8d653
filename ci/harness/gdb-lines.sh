#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# With KERNEL_VARIANT=gdb the debugger knows source files and lines. The first run builds that kernel.
#
# boot: none
# tier: soak
# timeout: 4000
. "$SUITE/lib.sh"
. "$SUITE/harness/gdb.inc"
own_runtime
own_kernel
export KERNEL_VARIANT=gdb
both_guests '.*at .*pcie-rcar-gen4\.c:' '.*at .*read_write\.c:'
