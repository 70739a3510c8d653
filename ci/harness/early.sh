#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What cannot work is said before anything boots.
#
# boot: none
# timeout: 60

. "$SUITE/lib.sh"
own_runtime

pair_run 125 --json /no/such/directory/x.json -- true
says '/no/such/directory/x.json'
pair_run 125 -- nosuchcommand
says 'no such command'
for setting in db_count=0 db_count=999 db_count=abc dma_routing=nobody; do
    pair_run 125 --function vntb-dma --function-opt "$setting" -- true
    says "${setting%=*} cannot be \`${setting#*=}\`"
done
pair_run 125 --step-timeout 0 -- true
pair_run 125 --timeout 0 -- true
[ ! -e "$SPIDER_PAIR_RUNS" ] || fail 'something has booted'

echo '=== and what works is taken'
pair_run 0 --function vntb-dma --function-opt dma_routing=remote,local --function-opt db_count=8,spad_count=64 \
    --append first=1 --append second=2 -- sh -c '
    grep -h "" "$SPIDER_PAIR_RUN"/set-up.sh | grep -F "dma_routing=remote,local" | grep -F "db_count=8" | grep -F "spad_count=64" &&
    ep grep first=1.second=2 /proc/cmdline &&
    ep cat "/sys/kernel/config/pci_ep/functions/pci_epf_vntb/func1/pci_epf_vntb.0/dma_routing"'
grep -qx 'remote,local' said || fail 'the function has another routing'

echo '=== a complaint of a kernel is shown as it comes'
pair_run 0 --function none -- ep 'echo "<4>WARNING: suspicious RCU usage" >/dev/kmsg; sleep 1'
says 'ep.log: ['
says 'suspicious RCU usage'
says "pair: logs: "
