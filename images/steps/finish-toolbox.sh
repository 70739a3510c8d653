#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# finish-toolbox.sh ROOT
#
# What only a root file system of the host's own architecture needs or can do.
set -eu
umask 022
root=$1

# Static libraries of the host's architecture and its sanitizers serve no build here, and are large.
find "$root"/usr/lib/*-linux-gnu -maxdepth 1 -name 'lib[a-bd-z]*.a' \
    ! -name 'libpthread.a' ! -name 'libm.a' ! -name 'libm-*.a' ! -name 'libmvec.a' ! -name 'libdl.a' \
    ! -name 'librt.a' ! -name 'libutil.a' -delete
find "$root"/usr/lib/llvm-* -name '*.a' -delete
rm -rf "$root"/usr/share/zoneinfo "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/info

# Mount points for the host's directories; enter adds what else a host has.
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/home" "$root/var"

chroot "$root" /usr/sbin/ldconfig
