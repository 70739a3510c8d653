#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# unpack-source.sh DIR
#
# Unpacks the tarball in DIR/apt/usr/src into DIR/linux and removes it. Other architectures' code and AMD's register
# headers, a quarter of the kernel, stay behind: no configuration here can reach them.
set -eu
umask 022
cd "$1"
mkdir linux
tar -x -C linux --strip-components 1 --no-same-owner --anchored --wildcards \
    --exclude='linux-source-*/drivers/gpu/drm/amd/include/asic_reg' \
    --exclude='linux-source-*/arch/[b-z]*/*' \
    --exclude='linux-source-*/arch/alpha/*' \
    --exclude='linux-source-*/arch/arc/*' \
    --exclude='linux-source-*/Documentation/[a-z]*/*' \
    -f apt/usr/src/linux-source-*.tar.xz
rm -r apt
