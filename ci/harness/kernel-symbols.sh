#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A kernel whose configuration lacks what the pair needs is refused: 125, each missing symbol named.
#
# boot: none
# timeout: 120
. "$SUITE/lib.sh"
own_runtime
own_kernel

# A build directory as far as the preflight looks: a configuration, a release, and an arm64 image by its magic number.
tree=$PWD/build
mkdir -p "$tree/include/config" "$tree/arch/arm64/boot"
echo 7.3.0 >"$tree/include/config/kernel.release"
{
    head -c 56 /dev/zero
    printf 'ARMd'
    head -c 4096 /dev/zero
} >"$tree/arch/arm64/boot/Image"
cat >"$tree/.config" <<'END'
CONFIG_MODULES=y
# CONFIG_PCIE_RCAR_GEN4_EP is not set
CONFIG_DW_EDMA=m
# CONFIG_VIRTIO_CONSOLE is not set
# CONFIG_HOTPLUG_PCI_PCIE is not set
END

pair_run 125 --ep-kernel "$tree" -- true
for symbol in PCIE_RCAR_GEN4_EP DW_EDMA VIRTIO_CONSOLE; do
    says "CONFIG_$symbol"
done
! grep -q CONFIG_MODULES said || fail 'a symbol that is there is called missing'

echo '=== the RC needs other things'
pair_run 125 --rc-kernel "$tree" -- true
says CONFIG_HOTPLUG_PCI_PCIE
! grep -q CONFIG_PCIE_RCAR_GEN4_EP said || fail "the RC's kernel is asked for what only the EP needs"
rm -r build said
