#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# modules.sh BUILD COMPILER WORK OUTPUT DIRECTORY...
#
# Builds the modules of WORK/DIRECTORY... against the kernel built in BUILD, with COMPILER as a variable for make, and
# moves them to OUTPUT/DIRECTORY. A directory sees what those before it export.
set -eu
umask 022
build=$1 compiler=$2 work=$3 output=$4
shift 4

symbols=
mkdir -p "$output"
for directory; do
    make -C "$build" ARCH=arm64 "$compiler" -j"$(nproc)" M="$work/$directory" KBUILD_EXTRA_SYMBOLS="$symbols" modules
    symbols="$symbols $work/$directory/Module.symvers"
    mkdir -p "$output/$directory"
    mv "$work/$directory"/*.ko "$output/$directory/"
done
