#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Each of the 32 MSIs that the EP raises arrives on the RC as the vector that it is.
#
# function: epf-test
# timeout: 90
. "$SUITE/lib.sh"
selftest pci_ep_basic.MSI_TEST
