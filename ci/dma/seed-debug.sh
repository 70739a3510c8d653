#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# dma.seed on the kernel that looks for mistakes: none of the drivers makes it complain.
#
# function: none
# options: --kernel-variant debug
# boot: own
# timeout: 180
exec "$SUITE/dma/seed.sh"
