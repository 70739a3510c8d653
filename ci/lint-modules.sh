#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# rustfmt and clippy over the kernel modules, both from the toolbox: the kernel's build drives clippy (CLIPPY=1).
# Fails on a difference in format and on any warning (`make lint`).
set -eu
cd "$(dirname "$0")/.."

images() { cargo run --quiet --release --package images -- "$@"; }
toolbox=$(images toolbox)
image=$(images kernel plain)
build=${image%/arch/arm64/boot/Image}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r abi guest-common guest-ep guest-rc "$work"
rm -rf "$work/guest-common/agent"

find guest-ep guest-rc guest-common -path guest-common/agent -prune -o -name '*.rs' -exec \
    images/enter "$toolbox" -- rustfmt --check --edition 2021 {} +
for kbuild in "$work"/guest-*/*/Kbuild; do
    images/enter "$toolbox" -- \
        make -C "$build" ARCH=arm64 LLVM=1 CLIPPY=1 M="${kbuild%/Kbuild}" modules >"$work/log" 2>&1 ||
        { cat "$work/log"; exit 1; }
    if grep -q '^warning' "$work/log"; then
        cat "$work/log"
        exit 1
    fi
done
echo "kernel modules: rustfmt and clippy are content"
