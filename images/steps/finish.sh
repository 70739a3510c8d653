#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# finish.sh ROOT
#
# Does what the maintainer scripts of the packages in ROOT would have done, as far as anything here depends on it.
# Touches files only: ROOT may be of another architecture.
set -eu
umask 022
root=$1

# base-passwd
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
# base-files
cp "$root/usr/share/base-files/profile" "$root/etc/profile"
cp "$root/usr/share/libc-bin/nsswitch.conf" "$root/etc/nsswitch.conf"
mkdir -p "$root/root" "$root/var/log" "$root/var/tmp" "$root/tmp" "$root/run"
[ -e "$root/var/run" ] || ln -s /run "$root/var/run"

# update-alternatives: NAME TARGET, the first that exists
alternative() {
    name=$1
    shift
    for target; do
        if [ -e "$root/usr/bin/$target" ] && [ ! -e "$root/usr/bin/$name" ]; then
            ln -sf "$target" "$root/usr/bin/$name"
        fi
    done
}
alternative awk gawk mawk
alternative cc gcc
alternative c++ g++
alternative nc nc.openbsd
alternative pager less
alternative which which.debianutils
alternative yacc bison.yacc
