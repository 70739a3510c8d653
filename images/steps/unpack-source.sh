#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# unpack-source.sh DIR
#
# Unpacks the tarball in DIR/apt/usr/src into DIR/linux and removes it. Documentation, other architectures' code (not
# their Kconfig) and AMD's register headers stay behind, two fifths of it all: no configuration here can reach them.
set -eu
umask 022
cd "$1"
mkdir linux
tar -x -C linux --strip-components 1 --no-same-owner --anchored --wildcards \
    --exclude='linux-source-*/drivers/gpu/drm/amd/include/asic_reg' \
    --exclude='linux-source-*/arch/[b-z]*/*.[chS]' \
    --exclude='linux-source-*/arch/*/boot/dts' \
    --exclude='linux-source-*/Documentation/[a-z]*/*' \
    -f apt/usr/src/linux-source-*.tar.xz
rm -r apt
