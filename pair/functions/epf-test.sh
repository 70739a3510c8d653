#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The kernel's pci-epf-test as 1912:0031 with 32 MSIs, bound to the one controller; then the link is started.
set -eu

configfs=/sys/kernel/config/pci_ep
controller=$(echo $configfs/controllers/*.pcie-ep)
[ -d "$controller" ] || { echo "no endpoint controller in $configfs/controllers: did spider_bridge.ko bind?" >&2; exit 1; }

function=$configfs/functions/pci_epf_test/func1
mkdir "$function"
echo 0x1912 >"$function/vendorid"
echo 0x0031 >"$function/deviceid"
echo 32 >"$function/msi_interrupts"
ln -s "$function" "$controller/"
echo 1 >"$controller/start"
