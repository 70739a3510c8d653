# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# The kernel's tools/testing/selftests/ntb/ntb_test.sh, its functions one by one, in the EP guest with the RC as the
# remote host. Begin with: . "$SUITE/lib.sh"; . "$SUITE/vntb-lib.sh"; . "$SUITE/vntb-ntb-test.sh"
#
# The script reaches its remote host by ssh. Its `ssh` here is one of ours, which writes the command into a pipe of the
# EP guest; from there it goes through the host to a shell in the RC guest, and the answer comes back the same way.

# What ssh runs through: a line of base64 for each command, then "STATUS SIZE" and SIZE bytes for each answer.
ssh_setup='
mkdir -p /run/ntb-test && cd /run/ntb-test && rm -f ask answer && mkfifo ask answer && cat >ssh && chmod 755 ssh'
ssh_client='#!/bin/bash
# ssh HOST COMMAND…: one at a time
shift
exec 8>/run/ntb-test/lock 9<>/run/ntb-test/answer
flock 8
base64 -w0 <<<"$*" >/run/ntb-test/asked && echo >>/run/ntb-test/asked && cat /run/ntb-test/asked >/run/ntb-test/ask
read -r -u 9 status size
head -c "$size" <&9
exit "$status"'
# Both pipes stay open from one command to the next.
ssh_ep='cd /run/ntb-test && exec 8<>ask 9<>answer && { cat <&8 & } && cat >&9; kill %1'
ssh_rc='while read -r asked && [ "$asked" != stop ]; do
    command=$(base64 -d <<<"$asked")
    echo "remote: $command" >&2
    bash -c "$command" </dev/null >/tmp/answer
    echo $? $(stat -c %s /tmp/answer) && cat /tmp/answer
done'

# ntb_test SECONDS: runs the commands on stdin, which may take this long, after all functions of ntb_test.sh. They find
# LOCAL_TOOL and REMOTE_TOOL as the script's own ntb_tool_tests sets them, and the same for the peers below them.
ntb_test() {
    local limit=$1 status=0 commands output device carrier
    # First of all: `ep` would take it.
    commands=$(cat)
    device=$(ntb ep)
    ep "$ssh_setup" <<<"$ssh_client"
    mkfifo answers
    { ep "$ssh_ep" <answers | rc "$ssh_rc" >answers; } &
    carrier=$!
    # Windows of 1 MiB, as no BAR of the S4 is smaller, and 16 MiB for each run of ntb_perf instead of 4 GiB.
    output=$({
        echo "export PATH=/run/ntb-test:\$PATH"
        echo "set -- -r rc -m 0x100000 -p 24 $device $FUNCTION"
        # All of it up to where it begins to run.
        echo ". <(sed '/^cleanup\$/,\$d' /usr/bin/ntb_test.sh)"
        echo 'LOCAL_TOOL=$DEBUGFS/ntb_tool/$LOCAL_DEV REMOTE_TOOL=$REMOTE_HOST:$DEBUGFS/ntb_tool/$REMOTE_DEV'
        echo 'LOCAL_PEER_TOOL=$LOCAL_TOOL/peer0 REMOTE_PEER_TOOL=$REMOTE_TOOL/peer0'
        echo "$commands"
    } | ep "timeout $limit bash" 2>&1) || status=$?
    printf '%s\n' "$output"
    ep 'echo stop >/run/ntb-test/ask'
    wait "$carrier" || true
    rm answers
    case $status in
    0) grep -qE '^  (Passed|Unsupported|Not doing)' <<<"$output" || fail 'ntb_test.sh: no function says that it has passed' ;;
    124) fail "ntb_test.sh: no end within $limit s" ;;
    *) fail "ntb_test.sh: exit status $status" ;;
    esac
}

# ntb_tool_test SECONDS: the same with ntb_tool loaded in both guests and the link up.
ntb_tool_test() {
    tool_load </dev/null
    ntb_test "$1"
}
