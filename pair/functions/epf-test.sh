#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The kernel's pci-epf-test, bound to the one controller; then the link is started.
#
# usage: epf-test.sh ATTRIBUTE=VALUE…
set -eu

configfs=/sys/kernel/config/pci_ep
controller=$(echo $configfs/controllers/*.pcie-ep)
[ -d "$controller" ] || { echo "no endpoint controller in $configfs/controllers: did spider_bridge.ko bind?" >&2; exit 1; }

function=$configfs/functions/pci_epf_test/func1
mkdir "$function"
for setting in "$@"; do
    echo "${setting#*=}" >"$function/${setting%%=*}" || { echo "configfs does not take $setting" >&2; exit 1; }
done
ln -s "$function" "$controller/"
echo 1 >"$controller/start"
