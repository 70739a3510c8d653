#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What would fail later is said first, with a warm cache as with a cold one: a host without namespaces, a directory in
# /tmp that is another's. --dry-run builds nothing and leaves `latest` alone.
#
# boot: none
# timeout: 120
. "$SUITE/lib.sh"
own_runtime
own_kernel

echo '=== no mount namespaces'
# In a user namespace of its own, even root can be denied them.
unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_mnt_namespaces && exec "$@"' sh "$PAIR" run --function none -- true >said 2>&1 </dev/null &&
    fail 'it ran without namespaces'
cat said
says 'this host does not let you create user and mount namespaces'
says 'kernel.apparmor_restrict_unprivileged_userns'
! grep -q 'artefacts ready' said || fail 'it was found out too late'

echo '=== a stranger in the place of the sockets'
mkdir precious
echo kept >precious/lock
ln -s "$PWD" "$XDG_RUNTIME_DIR/spider-pair"
status=0
"$PAIR" run --dry-run --function none >lines 2>said </dev/null || status=$?
cat said
same 'the exit status' 125 "$status"
says 'stands in its place'
[ -e precious/lock ] || fail 'what the link led to was removed'
rm "$XDG_RUNTIME_DIR/spider-pair"

echo '=== --dry-run'
mkdir -p "$SPIDER_PAIR_RUNS/before"
ln -sfn before "$SPIDER_PAIR_RUNS/latest"
"$PAIR" run --dry-run --function none >lines 2>said </dev/null || fail "pair run --dry-run failed: $(cat said)"
same 'latest' before "$(readlink "$SPIDER_PAIR_RUNS/latest")"
status=0
SPIDER_PAIR_CACHE=$PWD/cold "$PAIR" run --dry-run --function none >lines 2>said </dev/null || status=$?
cat said
same 'the exit status with a cold cache' 125 "$status"
says 'the toolbox is not built yet'

echo '=== no set-id program in the toolbox'
root=$(sed -nE "s|^/bin/sh .*/enter (.*) -- qemu-system.*|\1|p" <("$PAIR" run --dry-run --function none) | head -1)
[ -d "$root" ] || fail 'no toolbox'
same 'set-id programs' '' "$(find "$root/usr" "$root/etc" -type f -perm /6000)"
rm -rf precious cold lines said
