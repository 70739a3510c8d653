#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# download.sh DIR PACKAGE...
# download.sh DIR --alone PACKAGE...
#
# Downloads packages with what they depend on (or --alone) into DIR/debs. $APT_CONFIG names a configuration that
# keeps every file of apt's below DIR. Progress comes on stdout as apt's status lines.
set -eu
umask 022
dir=$1
shift
mkdir -p "$dir/debs"

if [ ! -e "$dir/updated" ]; then
    apt-get -o APT::Status-Fd=3 update 3>&1
    : >"$dir/updated"
fi
if [ "$1" = --alone ]; then
    shift
    cd "$dir/debs"
    exec apt-get -o APT::Status-Fd=3 download "$@" 3>&1
fi
apt-get -o APT::Status-Fd=3 --yes --download-only install "$@" 3>&1
mv "$dir"/var/cache/apt/archives/*.deb "$dir/debs/"
