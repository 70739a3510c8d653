#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# gdb stops both guests' kernels by a function's name: the EP in its stock driver, from the first instruction on.
#
# boot: none
# timeout: 600
. "$SUITE/lib.sh"
. "$SUITE/harness/gdb.inc"
own_runtime
own_kernel
both_guests '' ''
