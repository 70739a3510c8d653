#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What the RC writes to one BAR shows up in no other.
#
# function: epf-test
# timeout: 240
. "$SUITE/lib.sh"
selftest pci_ep_basic.CONSECUTIVE_BAR_TEST
