#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# MSI-X, a capability that the R-Car S4's endpoint controller does not have.
#
# function: epf-test
# timeout: 60
# xfail: the S4's controller has no MSI-X capability
# xfail-match: ^# \S*pci_endpoint_test\.c:\d+:MSIX_TEST:Expected 0 \(0\) == ret \(-22\)$
. "$SUITE/lib.sh"
selftest pci_ep_basic.MSIX_TEST
