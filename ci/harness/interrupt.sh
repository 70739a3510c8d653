#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Ctrl-C at any moment: 130, nothing is left running, the logs are kept.
#
# boot: none
# timeout: 300
. "$SUITE/lib.sh"
own_runtime

# As a terminal does it: the whole foreground process group gets SIGINT.
interrupt_after() {
    echo "=== Ctrl-C after $1 s"
    pair_start --function epf-test -- sleep 600
    sleep "$1"
    kill -INT -- "-$pair_pid"
    pair_ends 130 20
    # On a busy machine the program itself may not have begun yet: then it has nothing to say, and nothing to end.
    [[ ! -s said ]] || says 'SIGINT'
}

for moment in 0.1 0.4 0.8 1.2 2 3 4.5 6; do
    interrupt_after "$moment"
done

echo '=== Ctrl-C once all is up'
pair_start --function epf-test -- sleep 600
run_up
kill -INT -- "-$pair_pid"
pair_ends 130 20
logs_kept

echo '=== SIGTERM ends it as well'
pair_start --function none -- sleep 600
run_up
kill -TERM "$pair_pid"
pair_ends 143 20
logs_kept
