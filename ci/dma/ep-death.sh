#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP goes in mid-transfer, by a stop of its link and by a reboot: what the RC has out ends in errors within a second,
# nothing of it stays behind, and when the EP is back the channels work.
#
# function: vntb-dma
# boot: own
# timeout: 400
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/delegated.inc"

# watch: has the RC wait for the transfers of each channel; its kernel says when they have ended, if in errors. The files
# are opened before anything happens, as they go with the device.
watch() {
    listen rc
    rc "rm -f /run/death.*
for channel in ${CHANNELS[*]}; do
    setsid bash -c 'exec 3>${CONTROL[rc]}; touch /run/death.begun.'\$channel'
        echo wait '\$channel' 60000 >&3; touch /run/death.over.'\$channel >/run/death.\$channel 2>&1 </dev/null &
done"
    wait_for 20 'the RC to watch' rc 'set -- /run/death.begun.*; test $# = 4'
    sleep 0.5
}

# ended: all of them ended, in errors, no later than a second after the EP has gone, which is now.
ended() {
    local channel said
    rc 'echo the EP has gone >/dev/kmsg'
    wait_for 60 'all transfers to end' rc 'set -- /run/death.over.*; test $# = 4'
    for channel in "${CHANNELS[@]}"; do
        said=$(rc cat "/run/death.$channel")
        grep -qE '(I/O|Input/output) error' <<<"$said" || fail "the transfers of channel $channel: $said"
    done
    # The kernel's own clock: on a busy machine a program comes late to look at another.
    rc "dmesg | sed '1,/case listens $listening/d'" | tr -d '[]' | awk -v limit="$SLOWNESS" '
        /the EP has gone/ { gone = $1 }
        /spider_dma_test: transfer .*: (Aborted|WriteFailed|ReadFailed)/ { count++; last = $1 }
        END { printf "%d channels, the last one %.2f s after the EP\n", count, last - gone; exit !(count == 4 && last - gone < limit) }' ||
        fail "that is not all of them within $SLOWNESS s"
}

# gone: nothing of the device is left on the RC.
gone() {
    wait_for 20 'the function to go' rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    same 'devices of exported channels' '' "$(rc 'ls /sys/bus/auxiliary/devices')"
    same 'engines' '' "$(rc 'ls /sys/class/dma')"
    same 'interrupts' '' "$(rc 'grep -E "dw_edma_aux|ntb_epf" /proc/interrupts || true')"
    same 'users of the driver' 0 "$(rc "awk '\$1 == \"dw_edma_aux\" { print \$3 }' /proc/modules")"
}

# back: the channels are the test's again, and work.
back() {
    wait_for 60 'the function to be back' rc "test -e ${CONTROL[rc]}"
    mapfile -t TARGET < <(ep "sed -nE 's/^[0-3] .* write memory=(0x[0-9a-f]+) .*/\1/p' ${CONTROL[ep]}")
    for channel in "${CHANNELS[@]}"; do moves "$channel" 17 171 1000 $((channel + 1)); done
}

# kept: what the RC's kernel has for itself, in KiB.
kept() {
    rc 'echo 3 >/proc/sys/vm/drop_caches; awk "/^(SUnreclaim|Percpu|VmallocUsed)/ { n += \$2 } END { print n }" /proc/meminfo'
}

set_up
for round in 1 2; do
    echo "=== the EP stops its link ($round)"
    busy
    watch
    ep "echo 0 >$(epc)/start"
    ended
    gone
    # The first round has what is kept for good.
    if [ "$round" = 1 ]; then before=$(kept); fi
    if [ "$round" = 2 ]; then after=$(kept); fi
    ep "echo 1 >$(epc)/start"
    back
done
# In a round 12,000 transfers: 5 KiB each of their 338 pieces.
echo "the RC's kernel keeps $before KiB, then $after"
[ $((after - before)) -lt 8192 ] || fail "the RC's kernel keeps $((after - before)) KiB more after a second round"

echo '=== the EP reboots'
settings=$(ep 'cd /sys/kernel/config/pci_ep/functions/pci_epf_vntb/func1
    for name in vendorid deviceid msi_interrupts; do echo $name=$(cat $name); done; cd pci_epf_vntb.0
    for name in db_count spad_count num_mws mw1 dma_offset dma_num_chans vntb_vid vntb_pid vbus_number ctrl_bar mw1_bar dma_bar db_bar
    do echo $name=$(cat $name); done')
boot=$(boot_id ep)
busy
watch
# The guest may be gone before it can answer.
ep 'echo b >/proc/sysrq-trigger' || true
ended
gone
wait_for 90 'the EP guest to be up again' rebooted ep "$boot"
wait_for 30 "the EP's controller" ep 'test -e /sys/kernel/config/pci_ep/controllers/*.pcie-ep'
# shellcheck disable=SC2086 # a setting is a word
ep "sh -s pci_epf_vntb $(echo $settings)" <"$SUITE/../pair/functions/set-up.sh"
ep modprobe spider_edma_test
back
