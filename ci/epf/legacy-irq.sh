#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP raises INTx, which the R-Car S4's endpoint controller cannot.
#
# function: epf-test
# timeout: 60
# xfail: the S4's controller raises no INTx
# xfail-match: ^# \S*pci_endpoint_test\.c:\d+:LEGACY_IRQ_TEST:Expected 0 \(0\) == ret \(-110\)$
. "$SUITE/lib.sh"
selftest pci_ep_basic.LEGACY_IRQ_TEST
