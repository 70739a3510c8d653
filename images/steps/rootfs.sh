#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# rootfs.sh ROOT OVERLAY IMAGE
#
# Packs ROOT with OVERLAY over it into a read-only image, the same bytes for the same files. It is not compressed:
# without KVM the guest's processor is the slow part.
set -eu
umask 022
root=$1 overlay=$2 image=$3

rm -rf "$root"/usr/share/doc "$root"/usr/share/perl5 "$root"/usr/share/bash-completion
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/mnt" "$root/home"
cp -R "$overlay/." "$root/"
ln -sf /proc/self/mounts "$root/etc/mtab"
mkfs.erofs --quiet --all-root -T 0 -U 00000000-0000-0000-0000-000000000001 "$image" "$root"
