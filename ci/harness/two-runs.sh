#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Two pairs run beside each other, each with its own guests; ep and rc without a name are told to choose.
#
# boot: none
# timeout: 240
. "$SUITE/lib.sh"
own_runtime

pair_start --function epf-test --append-rc spider.test=first -- sleep 600
run_up
first=$run

pair_run_second() {
    "$PAIR" run --function epf-test --append-rc spider.test=second -- sh -ec '
        rc cat /proc/cmdline | grep -o "spider.test=[a-z]*"
        rc test -c /dev/pci-endpoint-test.0
        SPIDER_PAIR_RUN='"'$first'"' rc cat /proc/cmdline | grep -o "spider.test=[a-z]*"
        status=0
        SPIDER_PAIR_RUN= pair rc true 2>&1 || status=$?
        echo "without a name: $status"'
}
second=$(pair_run_second)
echo "$second"
same "what the second pair's guests say" $'spider.test=second\nspider.test=first' "$(grep '^spider' <<<"$second")"
grep -q 'several pairs are running' <<<"$second" || fail 'a command without a name did not say that there are several pairs'
grep -q 'without a name: 125' <<<"$second" || fail 'a command without a name did not end with 125'

SPIDER_PAIR_RUN=$first "$PAIR" rc test -c /dev/pci-endpoint-test.0 || fail 'the first pair did not survive the second'
kill -INT "$pair_pid"
pair_ends 130 20
