#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A function of an endpoint function driver, bound to the one controller; then the link is started.
#
# usage: set-up.sh DRIVER ATTRIBUTE=VALUE…, in the order in which configfs is to be written
set -eu
driver=$1
shift

configfs=/sys/kernel/config/pci_ep
controller=$(echo $configfs/controllers/*.pcie-ep)
[ -d "$controller" ] || { echo "no endpoint controller in $configfs/controllers: did spider_bridge.ko bind?" >&2; exit 1; }

function=$configfs/functions/$driver/func1
mkdir "$function"
for setting in "$@"; do
    name=${setting%%=*}
    # What every function has, or what its driver adds.
    attribute=$function/$name
    [ -e "$attribute" ] || attribute=$function/$driver.0/$name
    echo "${setting#*=}" >"$attribute" || { echo "configfs does not take $setting" >&2; exit 1; }
done
ln -s "$function" "$controller/" || { echo "$driver does not bind to the controller with $*" >&2; exit 1; }
echo 1 >"$controller/start"
