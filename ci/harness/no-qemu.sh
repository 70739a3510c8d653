#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A QEMU without vfio-user-pci is refused before anything starts: 125, with what would do.
#
# boot: none
# timeout: 60
. "$SUITE/lib.sh"
own_runtime

mkdir bin
cat >bin/qemu-system-aarch64 <<'END'
#!/bin/sh
echo 'name "virtio-net-pci", bus PCI'
END
chmod +x bin/qemu-system-aarch64
export SPIDER_PAIR_HOST_TOOLS=1

PATH=$PWD/bin:$PATH pair_run 125 --function none -- true
says 'has no vfio-user-pci'
says '10.1'

echo '=== no QEMU at all'
rm bin/qemu-system-aarch64
for tool in bash env sh cat grep; do ln -s "$(command -v "$tool")" bin/; done
status=0
PATH=$PWD/bin "$PAIR" run --function none -- /bin/true >said 2>&1 || status=$?
cat said
same 'the exit status' 125 "$status"
says 'cannot run qemu-system-aarch64'
nothing_left
rm -r bin said
