#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# agent.sh SOURCE VENDOR DIR
#
# Compiles the agent, static for arm64, to DIR/init, and the guests' other programs to DIR/bin; offline: VENDOR holds
# what they depend on.
set -eu
umask 022
source=$1 vendor=$2 dir=$3

cd "$source"
export CARGO_HOME="$source/.cargo-home"
target=aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static'
cargo build --release --offline --locked --target "$target" --target-dir "$source/target" --bins \
    --config 'source.crates-io.replace-with="vendored"' --config "source.vendored.directory='$vendor'"
mkdir "$dir/bin"
cp "target/$target/release/init" "$dir/"
for program in mmio window; do
    cp "target/$target/release/$program" "$dir/bin/"
done
