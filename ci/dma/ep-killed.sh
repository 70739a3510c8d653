#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP's QEMU is killed in mid-transfer, and nobody unplugs the function: what the RC has out ends in errors within a
# second all the same, and the RC lives on.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"

own_runtime
pair_start --function vntb-dma -- sleep 600
run_up
export SPIDER_PAIR_RUN=$run
ep() { "$PAIR" ep "$@"; }
rc() { "$PAIR" rc "$@"; }
set_up
trap clean_up EXIT
busy

# Who waits says so on the console. The runner would end the pair at once: it stands still until that has been said, and
# reads the console only then.
rc "for channel in ${CHANNELS[*]}; do
    setsid sh -c 'exec 3>${CONTROL[rc]}; echo \"case: waits\" >/dev/kmsg
        echo wait '\$channel' 60000 >&3 || echo \"case: channel '\$channel' has ended in \$?\" >/dev/kmsg' >/dev/null 2>&1 </dev/null &
done"
wait_for 20 'the RC to wait' eval "[ \$(grep -ac 'case: waits' '$run/rc.log') = 4 ]"
rc 'echo "case: the EP goes" >/dev/kmsg'
kill -STOP "$pair_pid"
kill -KILL "$(process_of qemu-system-aarch64 ep)"
sleep $((5 * SLOWNESS))
kill -CONT "$pair_pid"
pair_ends 125 30
says SIGKILL

tr -d '[]\r' <"$run/rc.log" | awk -v limit="$SLOWNESS" '
    /case: the EP goes/ { gone = $1 }
    /spider_dma_test: transfer .*: (Aborted|WriteFailed|ReadFailed)/ { count++; last = $1 }
    END { printf "%d channels, the last one %.2f s after the EP\n", count, last - gone; exit !(count == 4 && last - gone < limit) }' ||
    fail "that is not all of them within $SLOWNESS s: $(grep -a 'case: \|spider_dma_test' "$run/rc.log")"
