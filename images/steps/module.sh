#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# module.sh BUILD COMPILER DIRECTORY OUTPUT
#
# Builds the modules of DIRECTORY against the kernel built in BUILD, with COMPILER as a variable for make, and moves them
# to OUTPUT. BUILD may be a user's: it is read-only in this mount namespace, which is the toolbox's.
set -eu
umask 022
build=$1 compiler=$2 directory=$3 output=$4

mount --bind "$build" "$build"
mount -o remount,bind,ro "$build"
# A build directory's Makefile names the place that it was made in, and a copy of one somewhere else: O= says where it is.
make -C "$build" O="$build" ARCH=arm64 "$compiler" -j"$(nproc)" M="$directory" modules
mkdir -p "$output"
mv "$directory"/*.ko "$output/"
