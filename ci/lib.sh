# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# What the cases share. Begin a case with: . "$SUITE/lib.sh"
#
# A case has `ep` and `rc` on its PATH, and PAIR (the runner), SUITE (this directory), CASE (its name), RUN_DIR (the
# logs) and SPIDER_PAIR_RUNS (where a `pair` that it starts keeps its runs) in its environment. Its working directory is
# its own, and kept if anything is left in it.

set -Eeuo pipefail
# The last line of the output is the reason: name a command that failed unasked.
trap 'status=$?; echo "${BASH_SOURCE[0]##*/}:$LINENO: \"$BASH_COMMAND\" ended with status $status"' ERR

# fail REASON…: the case fails.
fail() {
    echo "$*"
    exit 1
}

# skip REASON…: the case does not apply.
skip() {
    echo "$*"
    exit 4
}

# wait_for SECONDS WHAT COMMAND…: until COMMAND succeeds; the case fails, naming WHAT, when it does not in time.
wait_for() {
    local deadline=$((SECONDS + $1)) limit=$1 what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "waited $limit s for $what"
        sleep 0.1
    done
}

# same WHAT WANTED GOT: the case fails unless both are the same.
same() {
    [ "$2" = "$3" ] || fail "$1: wanted \"$2\", got \"$3\""
}

# --- The kernel's pci_endpoint_test selftest, unmodified, in the RC guest

# judge_selftest NAME OUTPUT STATUS: exactly the test NAME ran, and its line says ok; a SKIP is a failure.
judge_selftest() {
    local name=$1 output=$2 status=$3 results
    printf '%s\n' "$output"
    grep -qx '1\.\.1' <<<"$output" || fail "$name: wanted a plan of one test, 1..1"
    results=$(grep -E '^(not )?ok ' <<<"$output" || true)
    [ "$results" = "ok 1 $name" ] || fail "$name: wanted \"ok 1 $name\", got \"$results\""
    [ "$status" -eq 0 ] || fail "$name: ok, but exit status $status"
}

# selftest FIXTURE[.VARIANT].TEST: it must pass.
selftest() {
    local output status=0
    output=$(rc pci_endpoint_test -r "$1" 2>&1) || status=$?
    judge_selftest "$1" "$output" "$status"
}

# selftest_first N FIXTURE[.VARIANT].TEST: it must pass, only its first N ioctls reaching the driver. For a test that
# goes through sizes the later ones are the long ones.
selftest_first() {
    local output status=0
    output=$(rc strace -f -qqq -e trace=ioctl -e "inject=ioctl:retval=0:when=$(($1 + 1))+" -o /dev/null \
        pci_endpoint_test -r "$2" 2>&1) || status=$?
    judge_selftest "$2" "$output" "$status"
}

# selftest_skips NAME REASON: it must skip itself, for this reason.
selftest_skips() {
    local output
    output=$(rc pci_endpoint_test -r "$1" 2>&1) || true
    printf '%s\n' "$output"
    grep -qxF "ok 1 $1 # SKIP $2" <<<"$output" || fail "$1: wanted \"ok 1 $1 # SKIP $2\""
}

# --- The link

# epc: the directory of the EP's one controller in configfs. Its name begins with the address of its registers.
epc() {
    ep 'echo /sys/kernel/config/pci_ep/controllers/*.pcie-ep'
}

# The function's place on the RC, behind its root port.
# shellcheck disable=SC2034
FUNCTION=0000:01:00.0
