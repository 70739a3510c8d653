#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A shell outlives its guest's reboots, its own and those from elsewhere; the EP's function is set up again; `poweroff` is one message and status 0.
#
# boot: none
# timeout: 180

. "$SUITE/lib.sh"
own_runtime

# Keys that are typed into a terminal with `pair run` in it.
mkfifo keys
echo '$ pair run (on a terminal) &'
# Appended, so that it can be emptied meanwhile.
: >said
setsid script -qefc "'$PAIR' run --function epf-test" /dev/null <keys >>said 2>&1 &
pair_pid=$!
exec 3>keys

prompts() {
    [ "$(grep -c "$1" said)" -ge "$2" ]
}
run_up
export SPIDER_PAIR_RUN=$run
wait_for 30 'the shell' prompts 'rc:~#' 1

echo '=== reboot in the shell'
boot=$("$PAIR" rc cat /proc/sys/kernel/random/boot_id)
echo reboot >&3
wait_for 60 'a new shell' prompts 'the RC guest rebooted' 1
echo 'echo shell-of-$(cat /proc/sys/kernel/random/boot_id)' >&3
wait_for 30 'the new shell to answer' grep -q 'shell-of-[0-9a-f]' said
! grep -q "shell-of-$boot" said || fail 'the RC guest has not rebooted'

echo '=== rc reboot from another terminal'
"$PAIR" rc reboot || true
wait_for 60 'another new shell' prompts 'the RC guest rebooted' 2

echo '=== ep reboot: the function comes back'
"$PAIR" ep reboot || true
wait_for 60 'the function to be set up again' prompts 'epf-test is set up again' 1
wait_for 60 'the function on the RC' "$PAIR" rc test -c /dev/pci-endpoint-test.0

echo '=== poweroff'
: >said
echo poweroff >&3
pair_ends 0 60
exec 3>&-
same 'messages of the end' 1 "$(grep -c 'powered off' said)"
! grep -q 'went away' said || fail 'the shell complains as well'
says 'logs: '
