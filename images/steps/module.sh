#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# module.sh BUILD COMPILER DIRECTORY OUTPUT
#
# Builds the modules of DIRECTORY against the kernel built in BUILD, with COMPILER as a variable for make, and moves them
# to OUTPUT.
set -eu
umask 022
build=$1 compiler=$2 directory=$3 output=$4

make -C "$build" ARCH=arm64 "$compiler" -j"$(nproc)" M="$directory" modules
mkdir -p "$output"
mv "$directory"/*.ko "$output/"
