# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# What the cases share. Begin a case with: . "$SUITE/lib.sh"
#
# A case has `ep` and `rc` on its PATH, and PAIR (the runner), SUITE (this directory), CASE (its name), RUN_DIR (the
# logs) and SPIDER_PAIR_RUNS (where a `pair` that it starts keeps its runs) in its environment. Its working directory is
# its own, and kept if anything is left in it. SLOWNESS says how many times as long as usual its kernels take: 1, or more
# on a debug kernel.

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

# wait_for SECONDS WHAT COMMAND…: until COMMAND succeeds; the case fails, naming WHAT, when it does not in time, which is
# SLOWNESS times as long.
wait_for() {
    local limit=$(($1 * ${SLOWNESS:-1})) what=$2
    local deadline=$((SECONDS + limit))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "waited $limit s for $what"
        sleep 0.1
    done
}

# boot_id SIDE: which boot of that guest this is.
boot_id() {
    "$1" cat /proc/sys/kernel/random/boot_id
}

# rebooted SIDE BOOT: that guest answers again, in another boot than that one.
rebooted() {
    local now
    now=$(boot_id "$1") && [ -n "$now" ] && [ "$now" != "$2" ]
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

# --- The link and the device

. "$SUITE/device.inc"

# epc: the directory of the EP's one controller in configfs. Its name begins with the address of its registers.
epc() {
    ep 'echo /sys/kernel/config/pci_ep/controllers/*.pcie-ep'
}

# The function's place on the RC, behind its root port.
# shellcheck disable=SC2034
FUNCTION=0000:01:00.0

# --- A `pair` that the case runs itself (boot: none)

# Sockets of this case's runs are in a place of their own, so that what is left behind can be seen. Paths of sockets
# have 107 bytes: it is short.
own_runtime() {
    XDG_RUNTIME_DIR=$(mktemp -d /tmp/pair-ci.XXXXXX)
    export XDG_RUNTIME_DIR
    pair_pid=
    trap clean_up EXIT
}

# At the end of the case, however it ends.
clean_up() {
    trap - ERR
    set +e
    [ -z "$pair_pid" ] || { kill -KILL -- "-$pair_pid" && wait "$pair_pid"; } 2>/dev/null
    rm -rf "${XDG_RUNTIME_DIR:?}"
}

# pair_run STATUS ARGUMENT…: `pair run ARGUMENT…` ends with STATUS and leaves nothing running; what it said is in ./said.
pair_run() {
    local wanted=$1 status=0
    shift
    echo "\$ pair run $*"
    "$PAIR" run "$@" >said 2>&1 </dev/null || status=$?
    cat said
    same "the exit status of pair run $*" "$wanted" "$status"
    nothing_left
}

# pair_start ARGUMENT…: `pair run ARGUMENT…` in a process group of its own, $pair_pid; what it says goes to ./said.
pair_start() {
    echo "\$ pair run $* &"
    : >said # what an earlier one said would be taken for this one's
    # A background job of a shell ignores SIGINT, and so would its children.
    setsid env --default-signal=INT "$PAIR" run "$@" >said 2>&1 </dev/null &
    pair_pid=$!
}

# own_kernel: the project's own kernel, whichever the suite is run on.
own_kernel() {
    unset SPIDER_PAIR_EP_KERNEL SPIDER_PAIR_RC_KERNEL
}

# pair_ends STATUS SECONDS: the `pair` that was started ends with STATUS within SECONDS, and leaves nothing running.
pair_ends() {
    local wanted=$1 status=0
    wait_for "$2" 'pair to end' eval "! kill -0 $pair_pid"
    wait "$pair_pid" || status=$?
    cat said
    same "pair's exit status" "$wanted" "$status"
    nothing_left
}

# says TEXT: `pair` said it.
says() {
    grep -qF -- "$1" said || fail "pair did not say \"$1\""
}

# run_up: the pair that was started has its function probed; its directory is then $run, its sockets' $sockets.
run_up() {
    wait_for 90 'the pair to be up' grep -qE 'function probed|pair is up|in all' said
    run=$(readlink -f "$SPIDER_PAIR_RUNS/latest")
    sockets=$(sed -nE 's/.*"sockets": "([^"]+)".*/\1/p' "$run/run.json")
    [ -d "$sockets" ] || fail "run.json names no directory of sockets"
}

# descendants: the processes that carry this case's environment, other than the case's own shells.
descendants() {
    local environ pid
    # One process looks at them all: on a busy machine a few for each take minutes.
    for environ in $(grep -lzxF -- "SPIDER_PAIR_RUNS=$SPIDER_PAIR_RUNS" /proc/[0-9]*/environ 2>/dev/null || true); do
        pid=${environ#/proc/}
        pid=${pid%/environ}
        case $pid in $$ | "$BASHPID" | "$PPID") continue ;; esac
        [ "$(ps -o ppid= -p "$pid" 2>/dev/null | tr -d ' ')" != "$$" ] || [ "$(ps -o comm= -p "$pid")" != bash ] || continue
        ps -o pid=,args= -p "$pid" | cut -c1-160 || true
    done
}

# nothing_left: no process of the case's pairs runs, and no directory of sockets is there. SIGKILL takes a moment.
nothing_left() {
    local left deadline=$((SECONDS + 5))
    while left=$(descendants | grep -v -e ' ps -o' -e ' grep ' || true) && [ -n "$left" ]; do
        [ "$SECONDS" -lt "$deadline" ] || fail "still running: $left"
        sleep 0.2
    done
    left=$(find "${XDG_RUNTIME_DIR:?}" -mindepth 2 -maxdepth 2 2>/dev/null || true)
    [ -z "$left" ] || fail "left behind: $left"
}

# logs_kept: the newest run has its logs.
logs_kept() {
    local log
    for log in ep.log rc.log device.log timeline.log result.json commands.sh; do
        [ -f "$SPIDER_PAIR_RUNS/latest/$log" ] || fail "$log of the run is lost"
    done
}

# process_of NAME SIDE: the process of the started pair whose command line names NAME and this side's sockets.
process_of() {
    pgrep -f -- "$1.*$sockets${2:+/$2}" | head -1
}

# qemu_killed SIDE TITLE: kills that side's QEMU under a run of its own. The run ends with 125 and says so; the next one
# is none the worse.
qemu_killed() {
    local pid
    own_runtime

    pair_start --function epf-test -- sleep 600
    run_up
    pid=$(process_of qemu-system-aarch64 "$1")
    [ -n "$pid" ] || fail 'no such process'
    echo "killing $(ps -o args= -p "$pid" | cut -c1-80)"
    kill -KILL "$pid"
    pair_ends 125 30
    says "QEMU of the $2 guest"
    says 'SIGKILL'
    logs_kept

    echo '=== the next pair boots'
    pair_run 0 --function epf-test -- rc test -c /dev/pci-endpoint-test.0
}
