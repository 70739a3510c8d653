#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP copies 1 byte to 1000 KiB within the RC's memory by memcpy through its outbound window.
#
# function: epf-test
# timeout: 300
. "$SUITE/lib.sh"
selftest pci_ep_data_transfer.memcpy.COPY_TEST
