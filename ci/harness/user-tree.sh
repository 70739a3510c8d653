#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A user's tree brings its own modules, unless --modules ours: one line says so, run.json records it, and the guests have
# them. Our modules' compilation is no part of --timeout, and the tree is as it was.
#
# boot: none
# timeout: 900
. "$SUITE/lib.sh"
own_runtime
own_kernel

"$PAIR" run --dry-run --function none >lines 2>said </dev/null || fail "pair run --dry-run failed: $(cat said)"
build=$(sed -nE "s|.* -kernel '?([^ ']+)/arch/arm64/boot/Image'?.*|\1|p" lines | head -1)
[ -n "$build" ] || fail "no kernel in: $(cat lines)"
# Its modules are built in the tree, as a user has them: what the project's own build has installed.
cp -a "$build" tree
sed -i "s|^export KBUILD_OUTPUT = .*|export KBUILD_OUTPUT = $build|" tree/Makefile
while read -r module; do
    module=${module%.o}.ko
    [ -e "tree/$module" ] || cp "$build/../lib/modules/"*"/kernel/$module" "tree/$module"
done <tree/modules.order
state() { (cd tree && find . -printf '%p %y %m %U %s %i %T@ %C@ %l\n' | sort); }
state >before

# whose SIDE MODULE: `stock` where it is below kernel/, `ours` below updates/.
cat >look <<'END'
for side in ep rc; do
    for module in pci_epf_vntb ntb_hw_epf; do
        case $($side modinfo -n $module) in
            */updates/*) echo "$side $module ours" ;;
            */kernel/*) echo "$side $module stock" ;;
        esac
    done
done
END

echo '=== a tree: its own'
pair_run 0 --kernel "$PWD/tree" --function none --timeout 60 -- sh ./look
says "modules: the kernel's own, ours stay aside: ntb_hw_epf, pci_epf_vntb"
same 'modules of the tree' 4 "$(grep -c ' stock$' said)"
grep -A8 '"modules"' "$SPIDER_PAIR_RUNS/latest/run.json" | grep -q '"ours": \[\]' || fail 'run.json does not tell'

echo '=== the same with ours'
pair_run 0 --kernel "$PWD/tree" --function none --modules ours -- sh ./look
says "modules: ours take the kernel's place: ntb_hw_epf, pci_epf_vntb"
same 'modules of ours' 4 "$(grep -c ' ours$' said)"

echo '=== a tree without the series cannot be vntb-dma'
pair_run 125 --kernel "$PWD/tree" --function vntb-dma -- true
says dma_num_chans
says '--modules ours'

state >after
diff before after || fail 'the tree was changed'

echo '=== an Image alone: what needs no module of ours runs, and what does says so first'
cp "$build/arch/arm64/boot/Image" Image
pair_run 125 --kernel "$PWD/Image" -- true
says 'spider_bridge'
pair_run 125 --rc-kernel "$PWD/Image" --function epf-test -- true
says 'CONFIG_PCI_ENDPOINT_TEST=y'
pair_run 0 --rc-kernel "$PWD/Image" --function none -- rc uname -r
rm -r tree Image lines look before after said
