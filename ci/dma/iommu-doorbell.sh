#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Both boards behind an IOMMU: the doorbell, transfers either way by the eDMA and by the CPUs, MSIs.
#
# function: epf-test
# options: --iommu both
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/iommu.inc"

behind both
endpoint_tests
behind both
