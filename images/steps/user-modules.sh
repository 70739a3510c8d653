#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# user-modules.sh BUILD MODULES
#
# Lays the modules of a user's build directory out in MODULES as if installed, without debug information.
set -eu
umask 022
build=$1 modules=$2

mkdir -p "$modules"
touch "$modules/modules.order"
cd "$build"
for file in modules.builtin modules.builtin.modinfo; do
    [ ! -e "$file" ] || cp "$file" "$modules/"
done
[ -e modules.order ] || exit 0
sed 's|^\(.*\)\.o$|kernel/\1.ko|' modules.order >"$modules/modules.order"
sed -n 's|\.o$|.ko|p' modules.order | while read -r module; do
    mkdir -p "$modules/kernel/${module%/*}"
    llvm-strip --strip-debug -o "$modules/kernel/$module" "$module"
done
