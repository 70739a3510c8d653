#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Clients of the exported channels hear that a segment may be of any length, as those of the EP's own driver do.
#
# function: vntb-dma
# timeout: 60
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"

set_up
for channel in "${CHANNELS[@]}"; do
    same "the longest segment of channel $channel" 0xffffffff "$(value "$channel" segment)"
done
