#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# finish-toolbox.sh ROOT
#
# What only a root file system of the host's own architecture needs or can do.
set -eu
umask 022
root=$1

# What no build here uses, and is large: static libraries other than the C library's, the compiler's own source other
# than the standard library's, and tools for link-time optimisation.
find "$root"/usr/lib/*-linux-gnu -maxdepth 1 -name 'lib*.a' ! -name 'libc.a' ! -name 'libc_nonshared.a' \
    ! -name 'libpthread.a' ! -name 'libm*.a' ! -name 'libdl.a' ! -name 'librt.a' ! -name 'libutil.a' -delete
find "$root"/usr/lib/llvm-* -name '*.a' -delete
find "$root"/usr/src/rustc-* -mindepth 1 -maxdepth 1 ! -name library -exec rm -rf {} +
rm -rf "$root"/usr/bin/*lto-dump* "$root"/usr/libexec/gcc*/*/*/lto1 "$root"/usr/share/zoneinfo

# Mount points for the host's directories; enter adds what else a host has.
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/home" "$root/var"

chroot "$root" /usr/sbin/ldconfig
