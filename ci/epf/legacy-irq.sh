#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# INTx, which the stock driver of the R-Car S4's endpoint refuses to raise (dw_pcie_ep_raise_intx_irq).
#
# function: epf-test
# timeout: 60
# xfail: the S4's driver raises no INTx
# xfail-match: ^# \S*pci_endpoint_test\.c:\d+:LEGACY_IRQ_TEST:Expected 0 \(0\) == ret \(-110\)$
. "$SUITE/lib.sh"
selftest pci_ep_basic.LEGACY_IRQ_TEST
