#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The cover letter's commands (dma.seed) do the same with the DMA of both boards behind an IOMMU.
#
# function: none
# boot: own
# options: --iommu both
# timeout: 180
. "$SUITE/dma/seed.sh"
. "$SUITE/iommu.inc"
behind both
