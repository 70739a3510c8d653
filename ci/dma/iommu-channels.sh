#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Both boards behind an IOMMU: what the RC has the EP's engine fetch arrives, through each exported channel, from memory in
# one piece and from scatter lists.
#
# function: vntb-dma
# options: --iommu both
# tier: soak
# timeout: 300
. "$SUITE/lib.sh"
. "$SUITE/iommu.inc"
. "$SUITE/dma/delegated.inc"

behind both
set_up
for channel in "${CHANNELS[@]}"; do
    for bytes in 1 4097 "$MEMORY"; do
        room=$((MEMORY - bytes + 1))
        echo "=== channel $channel: $bytes bytes"
        moves_one "$channel" $((40009 % room)) $((20011 % room)) "$bytes" $((channel + 1))
    done
    echo "=== channel $channel: 171 pieces"
    moves "$channel" $((1000 * channel + 1)) 171 1000 $((channel + 5))
done
