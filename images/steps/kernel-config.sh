#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# kernel-config.sh SOURCE BUILD FRAGMENT...
#
# Configures a kernel from nothing but the fragments.
set -eu
umask 022
source=$1 build=$2
shift 2

mkdir -p "$build"
config="make -s -C $source O=$build ARCH=arm64 LLVM=1"
$config allnoconfig
"$source/scripts/kconfig/merge_config.sh" -m -O "$build" "$build/.config" "$@"
$config olddefconfig
$config rustavailable
