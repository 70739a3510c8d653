#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# MSI-X, which the R-Car S4's endpoint does not have (rcar_gen4_pcie_epc_features).
#
# function: epf-test
# timeout: 60
# xfail: the S4's endpoint has no MSI-X
# xfail-match: ^# \S*pci_endpoint_test\.c:\d+:MSIX_TEST:Expected 0 \(0\) == ret \(-22\)$
. "$SUITE/lib.sh"
selftest pci_ep_basic.MSIX_TEST
