#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP writes 1 byte to 1000 KiB to the RC's memory with a write channel of the eDMA; the checksums agree.
#
# function: epf-test
. "$SUITE/lib.sh"
selftest pci_ep_data_transfer.dma.WRITE_TEST
