#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# kernel-build.sh SOURCE BUILD ROOT
#
# Builds a configured kernel, installs its modules below ROOT, and leaves of BUILD what gdb and modules built against
# it need.
set -eu
umask 022
source=$1 build=$2 root=$3

export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=spider KBUILD_BUILD_HOST=pair
make -C "$source" O="$build" ARCH=arm64 LLVM=1 -j"$(nproc)" Image modules
if grep -qx CONFIG_GDB_SCRIPTS=y "$build/.config"; then
    make -C "$source" O="$build" ARCH=arm64 LLVM=1 scripts_gdb
fi
make -C "$source" O="$build" ARCH=arm64 LLVM=1 INSTALL_MOD_PATH="$root" INSTALL_MOD_STRIP=1 modules_install
rm -f "$root"/lib/modules/*/build "$root"/lib/modules/*/source

cd "$build"
rm -rf .tmp_vmlinux* .vmlinux* vmlinux.o vmlinux.a vmlinux.unstripped rust/host
find . -path ./scripts -prune -o \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '.*.d' \) -exec rm -f {} +
