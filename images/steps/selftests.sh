#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# selftests.sh SOURCE BUILD ROOT
#
# Compiles the kernel's own tests for arm64 from SOURCE, unmodified, and installs them in ROOT.
set -eu
umask 022
source=$1 build=$2 root=$3
tests=$source/tools/testing/selftests

mkdir -p "$build"
make -s -C "$source" O="$build" ARCH=arm64 LLVM=1 headers_install
aarch64-linux-gnu-gcc -O2 -Wall -D_GNU_SOURCE= -I "$build/usr/include" -I "$tests" \
    -I "$source/tools/include/uapi" "$tests/pci_endpoint/pci_endpoint_test.c" -o "$root/usr/bin/pci_endpoint_test"
cp "$tests/ntb/ntb_test.sh" "$root/usr/bin/ntb_test.sh"
chmod 755 "$root/usr/bin/ntb_test.sh"
