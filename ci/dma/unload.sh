#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Modules of either side go while all exported channels are busy, in whatever order one may think of; what cannot go says
# so, the rest goes and leaves nothing behind, and what comes back works.
#
# function: vntb-dma
# boot: own
# timeout: 400
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/delegated.inc"

# every_channel_moves: each of them, after whatever happened.
every_channel_moves() {
    local channel seed fills=() starts=() waits=() holds=() bytes
    wait_for 30 "the RC's test module to have channels" rc "test -e ${CONTROL[rc]}"
    same 'exported channels that the RC has' 4 "$(rc "grep -c ' write ' ${CONTROL[rc]}")"
    seed=$((RANDOM + 1))
    place() { echo $((1000 * $1 + 1)); }
    for channel in "${CHANNELS[@]}"; do
        fills+=("fill $channel")
        starts+=("start $channel $((TARGET[channel] + $(place "$channel"))) 171 1000 $((seed + channel))")
        waits+=("wait $channel 20000" "check $channel")
    done
    each ep "${fills[@]}"
    each rc "${starts[@]}" "${waits[@]}"
    mapfile -t bytes < <(rc "sed -nE 's/.* bytes=([0-9]+) .*/\1/p' ${CONTROL[rc]}")
    for channel in "${CHANNELS[@]}"; do
        holds+=("holds $channel $((seed + channel)) $(place "$channel") ${bytes[channel]}")
    done
    each ep "${holds[@]}"
}

# rc_has_nothing: no device, interrupt or engine of the channels is left on the RC.
rc_has_nothing() {
    same 'devices of exported channels' '' "$(rc 'ls /sys/bus/auxiliary/devices')"
    same 'engines' '' "$(rc 'ls /sys/class/dma')"
    same 'interrupts' '' "$(rc 'grep -E "dw_edma_aux|ntb_epf" /proc/interrupts || true')"
    same "files of the RC's test module" '' "$(rc "ls ${CONTROL[rc]%/*} 2>/dev/null || true")"
}

# does_not_go SIDE MODULE: it is in use, and stays.
does_not_go() {
    local said
    if said=$("$1" rmmod "$2" 2>&1); then fail "$2 went, with clients"; fi
    [[ $said == *'in use'* ]] || fail "rmmod $2: wanted \"in use\", got \"$said\""
}

CLIENT=/sys/kernel/debug/ntb_ep_dma/$FUNCTION
function=/sys/kernel/config/pci_ep/functions/pci_epf_vntb/func1

echo '=== clients and bridge, with one run after another'
both modprobe ntb_ep_dma
# Not the module whose file is open all the time: the kernel does not keep a Rust module for an open file in debugfs.
rc "setsid sh -c 'until [ -e /tmp/enough ]; do echo 1 >$CLIENT/run || sleep 0.02; done; rm /tmp/enough' </dev/null >/dev/null 2>&1 &"
passes() {
    rc "grep -q '^last_status: 0' $CLIENT/result"
}
for module in ntb_ep_dma ntb_ep_dma; do
    wait_for 20 'a run that passes' passes
    ep "rmmod $module"
    wait_for 20 'a run that cannot be' rc "grep -q 'last_status: -107' $CLIENT/result"
    ep "modprobe $module"
done
for module in ntb_hw_epf ntb_hw_epf; do
    wait_for 20 'a run that passes' passes
    rc "rmmod $module; ! test -e $CLIENT; modprobe $module"
done
wait_for 20 'a run that passes' passes
rc touch /tmp/enough
wait_for 20 'the runs to end' rc '! test -e /tmp/enough'
both rmmod ntb_ep_dma
same 'files of the client' '' "$(rc 'ls /sys/kernel/debug/ntb_ep_dma 2>/dev/null || true')"

set_up
every_channel_moves

echo '=== the client of busy channels, after their driver could not'
busy
does_not_go rc dw_edma_aux
rc rmmod spider_dma_test
rc rmmod dw_edma_aux
same 'engines' '' "$(rc 'ls /sys/class/dma')"

echo "=== a client without the channels' driver"
both modprobe ntb_ep_dma
same 'ready without an engine' 1 "$(rc "cat $CLIENT/ready")"
if rc "echo 1 >$CLIENT/run"; then fail 'a run without an engine succeeded'; fi
same 'the result without an engine' 'last_status: -19' "$(rc "grep last_status $CLIENT/result")"
both rmmod ntb_ep_dma

echo "=== the channels' driver comes after the device"
rc 'modprobe dw_edma_aux && modprobe spider_dma_test'
every_channel_moves

echo '=== the bridge, with busy channels'
busy
rc rmmod ntb_hw_epf
rc_has_nothing
rc 'rmmod dw_edma_aux; modprobe ntb_hw_epf'
every_channel_moves

echo '=== all of the RC at once, with busy channels'
busy
rc 'rmmod spider_dma_test; modprobe -r ntb_hw_epf; ! grep -E "^(ntb_hw_epf|dw_edma_aux|spider_dma_test) " /proc/modules'
rc_has_nothing
rc 'modprobe ntb_hw_epf && modprobe spider_dma_test'
every_channel_moves

echo '=== the link of the EP, with busy channels'
busy
ep "echo 0 >$(epc)/start"
wait_for 20 'the function to go' rc "! test -e /sys/bus/pci/devices/$FUNCTION"
rc_has_nothing
ep "echo 1 >$(epc)/start"
every_channel_moves

echo '=== the function of the EP, with busy channels'
busy
ep "echo 0 >$(epc)/start; rm $(epc)/func1; rmdir $function; rmmod pci_epf_vntb"
wait_for 20 'the function to go' rc "! test -e /sys/bus/pci/devices/$FUNCTION"
rc_has_nothing
same "channels of the EP in use, but for the test's own" 4 "$(channels_in_use)"
