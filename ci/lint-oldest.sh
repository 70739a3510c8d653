#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# All of it builds with the oldest toolchain that the README promises: Debian trixie's, which the toolbox has (`make lint`).
set -eu
cd "$(dirname "$0")/.."

toolbox=$(cargo run --quiet --release --package images -- toolbox)
for manifest in Cargo.toml guest-common/agent/Cargo.toml; do
    # The toolbox's network is not set up.
    cargo fetch --quiet --locked --manifest-path $manifest
    images/enter "$toolbox" -- \
        cargo check --quiet --offline --locked --workspace --all-targets --manifest-path $manifest --target-dir target/oldest
done
echo "trixie's toolchain: content"
