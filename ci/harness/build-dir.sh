#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Modules of ours are built against a user's build directory without a change to any file in it: against a copy of one
# (`cp -a` of an O= build), whose Makefile still names the place that it was copied from, whether that is there or not.
#
# boot: none
# timeout: 300
. "$SUITE/lib.sh"
own_runtime
own_kernel

# The own kernel's build directory, and the toolbox, as the command lines name them.
"$PAIR" run --dry-run --function none >lines 2>said </dev/null || fail "pair run --dry-run failed: $(cat said)"
build=$(sed -nE "s|.* -kernel '?([^ ']+)/arch/arm64/boot/Image'?.*|\1|p" lines | head -1)
enter=$(sed -nE "s|^/bin/sh (.*/enter .* --) qemu-system.*|\1|p" lines | head -1)
[ -n "$build" ] && [ -n "$enter" ] || fail "no kernel or no toolbox in: $(cat lines)"

state() { # every file's own facts; a time of reading is none
    (cd "$1" && find . -printf '%p %y %m %U %s %i %T@ %C@ %l\n' | sort)
}

mkdir module
cat >module/hello.c <<'END'
#include <linux/module.h>
MODULE_DESCRIPTION("built against somebody's kernel");
MODULE_LICENSE("GPL");
END
echo 'obj-m := hello.o' >module/Kbuild

# against COPY WHAT
against() {
    echo "=== $2"
    state "$1" >before
    rm -rf out
    mkdir -p work
    cp -a module work/
    eval "sh $enter sh '$SUITE/../images/steps/module.sh' '$1' LLVM=1 '$PWD/work/module' '$PWD/out'" 2>&1 | tail -20
    [ -f out/hello.ko ] || fail "$2: no module was built"
    state "$1" >after
    diff before after || fail "$2: the build directory was changed"
    rm -r work
}

# A build directory in its original place names itself.
cp -a "$build" original
sed -i "s|^export KBUILD_OUTPUT = .*|export KBUILD_OUTPUT = $PWD/original|" original/Makefile
cp -a original copy
against "$PWD/copy" 'a copy whose original exists'
against "$PWD/original" 'the original'
rm -r original
against "$PWD/copy" 'a copy whose original is gone'
rm -rf copy module out lines before after said
