#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP copies within the RC's memory by DMA.
#
# function: epf-test
# xfail: the eDMA moves between the EP's memory and the link, and has no memcpy
# xfail-match: ^# \S*pci_endpoint_test\.c:\d+:COPY_TEST:Expected 0 \(0\) == ret \(-5\)$
. "$SUITE/lib.sh"
selftest pci_ep_data_transfer.dma.COPY_TEST
