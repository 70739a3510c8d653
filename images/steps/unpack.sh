#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# unpack.sh DEBS ROOT
#
# Unpacks every package in DEBS into ROOT and removes it, several at once. No maintainer script runs, so this works
# for any user and any architecture; finish.sh makes up for the few that matter. Documentation stays behind, and what
# is large and no build here uses: most static libraries, the Rust compiler's own source (not its libraries'), and the
# tools for optimising at link time.
set -eu
umask 022
debs=$1 root=$2
mkdir -p "$root"

# The merged /usr exists before the first package is unpacked through it.
for dir in bin sbin lib; do
    mkdir -p "$root/usr/$dir"
    ln -s "usr/$dir" "$root/$dir"
done
case $(dpkg-deb --field "$(ls "$debs"/libc6_*.deb)" Architecture) in
    amd64) mkdir -p "$root/usr/lib64" && ln -s usr/lib64 "$root/lib64" ;;
esac

export root
unpack='
for deb; do
    dpkg-deb --fsys-tarfile "$deb" |
        tar -x -C "$root" --no-same-owner --same-permissions --keep-directory-symlink --no-overwrite-dir \
            --anchored --no-wildcards-match-slash \
            --exclude="./usr/share/doc/*" --exclude="./usr/share/man/*" --exclude="./usr/share/info/*" \
            --exclude="./usr/share/locale/*" --exclude="./usr/share/lintian/*" --exclude="./usr/share/zoneinfo/*" \
            --exclude="./usr/src/rustc-*/compiler" --exclude="./usr/src/rustc-*/src" \
            --exclude="./usr/lib/llvm-*/lib/*.a" --exclude="./usr/lib/*/libcrypto.a" --exclude="./usr/lib/*/libssl.a" \
            --exclude="./usr/lib/*/libpython*.a" --exclude="./usr/bin/*lto-dump*" \
            --exclude="./usr/libexec/gcc*/*/lto1"
    rm "$deb"
    echo "unpacked ${deb##*/}"
done'
sh -euc "$unpack" sh "$debs"/base-files_*.deb
find "$debs" -name '*.deb' -print0 | xargs -0 -P "$(nproc)" -n 4 sh -euc "$unpack" sh
