#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The kernel's pci-epf-vntb, bound to the one controller; then the link is started.
#
# usage: vntb.sh ATTRIBUTE=VALUE…, in the order in which configfs is to be written (num_mws before mw1)
set -eu

configfs=/sys/kernel/config/pci_ep
controller=$(echo $configfs/controllers/*.pcie-ep)
[ -d "$controller" ] || { echo "no endpoint controller in $configfs/controllers: did spider_bridge.ko bind?" >&2; exit 1; }

function=$configfs/functions/pci_epf_vntb/func1
mkdir "$function"
for setting in "$@"; do
    name=${setting%%=*}
    # What every function has, or what the NTB adds.
    attribute=$function/$name
    [ -e "$attribute" ] || attribute=$function/pci_epf_vntb.0/$name
    echo "${setting#*=}" >"$attribute" || { echo "configfs does not take $setting" >&2; exit 1; }
done
ln -s "$function" "$controller/" || { echo "pci-epf-vntb does not bind to the controller with $*" >&2; exit 1; }
echo 1 >"$controller/start"
