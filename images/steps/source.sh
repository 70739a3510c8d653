#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# source.sh DIR PACKAGE
#
# Downloads a kernel's source package, or the newest one if that is no longer served, and leaves its tarball in
# DIR/usr/src. $APT_CONFIG is as for download.sh. Prints "= PACKAGE VERSION".
set -eu
umask 022
dir=$1 package=$2

apt-get -o APT::Status-Fd=3 update 3>&1
if ! apt-cache show "$package" >/dev/null 2>&1; then
    package=$(apt-cache pkgnames linux-source- | grep -x 'linux-source-[0-9.]*' | sort -V | tail -n 1)
    [ -n "$package" ] || { echo "no linux-source-* on the mirror"; exit 1; }
fi
cd "$dir"
apt-get -o APT::Status-Fd=3 download "$package" 3>&1
dpkg-deb --fsys-tarfile ./*.deb | tar -x --no-same-owner ./usr/src
echo "= $package $(dpkg-deb --field ./*.deb Version)"
rm ./*.deb
