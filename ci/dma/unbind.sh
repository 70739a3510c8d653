#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP's function is unbound in the middle of transfers, the link staying up: a list of the RC's that would never end is
# stopped in time, the EP's own read channels go on with theirs, and what the RC had begun ends in an error. Bound again,
# all is as before.
#
# function: vntb-dma
# options: --function-opt mw1=0xFB000 --function-opt dma_offset=0xFB000 --function-opt dma_num_chans=2
# boot: own
# timeout: 300
# complaint: pci_epc_epf_unlink
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/routing.inc"

# Two read channels are the RC's, and two the EP's, behind its four write channels.
CHANNELS=(0 1)
OWN=4 OWN_TIMES=6000

# Where the RC finds the eDMA's registers and the descriptors of channel 0 (see dma.export).
registers=0xfc000 descriptors=0xfe000
engine_enable=0x2c doorbell=0x30 control1=0x300 llp_low=0x31c llp_high=0x320

# drive_two: as `drive`, with fewer channels.
drive_two() {
    undrive
    rc 'modprobe dw_edma_aux && modprobe spider_dma_test'
    ep modprobe spider_edma_test
    same 'exported channels that the RC has' 2 "$(rc "wc -l <${CONTROL[rc]}")"
    mapfile -t TARGET < <(ep "sed -nE 's/^[0-1] .* write memory=(0x[0-9a-f]+) .*/\1/p' ${CONTROL[ep]}")
    SOURCE=$(rc "sed -nE 's/^0 .* memory=(0x[0-9a-f]+).*/\\1/p' ${CONTROL[rc]}")
}

# endless: channel 0 writes a page of the EP's again and again. Nobody's list has that, so the RC's driver knows nothing.
endless() {
    local target=$((TARGET[0] + PLACE)) list at=$descriptors word
    list=$(peek 2 $((0xfb000 + 0x20 + 0x10)))
    # Data (CB), and a link (LLP, CB) back to it.
    for word in 1 4096 $((SOURCE & 0xffffffff)) $((SOURCE >> 32)) $((target & 0xffffffff)) $((target >> 32)) \
        5 0 "$list" 0; do
        poke 2 $at "$word"
        at=$((at + 4))
    done
    poke 2 $((registers + engine_enable)) 1
    poke 2 $((registers + control1)) 0x300
    poke 2 $((registers + llp_low)) "$list"
    poke 2 $((registers + llp_high)) 0
    poke 2 $((registers + doorbell)) 0
    same 'the state of channel 0' running "$(read_engine channels.0.status)"
}

# ended_own: how many transfers of the EP's own have ended.
ended_own() {
    ep "sed -nE 's|^$OWN .* ended=([0-9]+)/.*|\\1|p' ${CONTROL[ep]}"
}

drive_two
delivers 0 1
delivers 1 2
same 'channels of the EP in use' 8 "$(channels_in_use)"

on ep start $OWN "$SOURCE" 338 2500 3 $OWN_TIMES
endless
# One that goes round and round, as any number of others a fast machine may be through with before it is unbound.
each rc "cycle 1 $((TARGET[1] + PLACE)) $PLACE $((PLACE / 2)) 0" "move 1 $((TARGET[1] + PLACE)) 0 $PLACE 4 20"
echo '=== it goes'
listen ep
before=$(date +%s%N)
ep "rm $(epc)/func1"
took=$((($(date +%s%N) - before) / 1000000))
echo "unbound in $took ms"
[ "$took" -lt 5000 ] || fail "it took $took ms to unbind"
kernel_says ep 'delegated DMA channel 0: stopped in a transfer'
same 'the state of channel 0' stopped "$(read_engine channels.0.status)"
bytes=$(read_engine channels.0.bytes)
same 'channels of the EP in use' 6 "$(channels_in_use)"

echo '=== the EP goes on'
own=$(ended_own)
echo "$own of $OWN_TIMES have ended"
[ "$own" -lt $OWN_TIMES ] || fail "the EP's own transfers were over before it was unbound"
wait_for 10 "the EP's own transfers to go on" eval "[ \"\$(ended_own)\" -gt $own ]"
same 'bytes that channel 0 has moved, later' "$bytes" "$(read_engine channels.0.bytes)"
on ep terminate $OWN

echo '=== the RC knows'
if said=$(rc "echo wait 1 5000 >${CONTROL[rc]}" 2>&1); then fail "the RC's transfers succeeded without an EP"; fi
[[ $said == *'Input/output error' ]] || fail "the RC's transfers: $said"

echo '=== bound again'
undrive
ep "echo 0 >$(epc)/start"
wait_for 20 'the function to go' rc "! test -e /sys/bus/pci/devices/$FUNCTION"
ep "ln -s $FUNC $(epc)/ && echo 1 >$(epc)/start"
appears
drive_two
delivers 0 5
delivers 1 6
