#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# One board behind an IOMMU and the other not: what dma.iommu and dma.iommu-doorbell do with both.
#
# boot: none
# tier: soak
# timeout: 600
. "$SUITE/lib.sh"

if [ "${1-}" = inside ]; then
    . "$SUITE/iommu.inc"
    if [ "$3" = none ]; then . "$SUITE/dma/seed.sh"; else endpoint_tests; fi
    behind "$2"
    exit
fi

own_runtime
for side in ep rc; do
    for function in none epf-test; do
        pair_run 0 --iommu $side --function $function -- bash "$SUITE/dma/iommu-sides.sh" inside $side $function
    done
done
rm said
