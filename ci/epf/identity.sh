#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# `lspci -vvv` of the function on the RC is what identity.golden has, to the letter: it does not change unawares.
#
# function: epf-test
# timeout: 60
. "$SUITE/lib.sh"

# What the RC alone decides, and may decide otherwise next time: the addresses of the BARs and of the MSI frame, the
# numbers of interrupts and of IOMMU groups, the order in which a driver was found.
normalise() {
    sed -E \
        -e 's/(Region [0-9]: Memory at) [0-9a-f]+/\1 <address>/' \
        -e 's/(Address:) [0-9a-f]+ +(Data:) [0-9a-f]+/\1 <address>  \2 <data>/' \
        -e 's/(pin A routed to IRQ) [0-9]+/\1 <irq>/' \
        -e 's/(IOMMU group:) [0-9]+/\1 <group>/'
}

# The MSIs that the driver asks for are part of it.
selftest_first 3 pci_ep_basic.MSI_TEST

lspci=$(rc lspci -vvv -nn -s "$FUNCTION")
printf '%s\n' "$lspci" | normalise >identity.got
if ! diff -u "$SUITE/epf/identity.golden" identity.got; then
    fail "lspci differs from ci/epf/identity.golden (what it said is in $PWD/identity.got)"
fi
rm identity.got
