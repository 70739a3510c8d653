#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP writes 1 byte to 1000 KiB into the RC's memory by memcpy through its outbound window; the checksums agree.
#
# function: epf-test
# timeout: 240
. "$SUITE/lib.sh"
selftest pci_ep_data_transfer.memcpy.WRITE_TEST
