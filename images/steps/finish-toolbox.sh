#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# finish-toolbox.sh ROOT
#
# What only a root file system of the host's own architecture needs or can do.
set -eu
umask 022
root=$1

# Mount points for the host's directories; enter adds what else a host has.
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/home" "$root/var"

chroot "$root" /usr/sbin/ldconfig
