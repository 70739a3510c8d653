#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP reads 1 byte to 1000 KiB of the RC's memory with a read channel of the eDMA; the checksums agree.
#
# function: epf-test
. "$SUITE/lib.sh"
selftest pci_ep_data_transfer.dma.READ_TEST
