#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Transfers that cannot be: to where the EP has no memory, and from an RC that lets nobody read. Each is told as a failure
# of the right kind, with what is left; those before and after it on the same channel are none the worse.
#
# function: vntb-dma
# options: --append-ep mem=384M
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/dma/delegated.inc"

# fails CHANNEL OUTCOME TIMES: its last transfers have ended, all so; whoever asks is told that, and not that they are
# complete.
fails() {
    if rc "echo wait $1 5000 >${CONTROL[rc]}" 2>said; then fail "transfers of channel $1 succeeded"; fi
    grep -q 'Input/output error' said || fail "transfers of channel $1: $(cat said)"
    same "how the transfers of channel $1 ended" "$2" "$(value "$1" last)"
    same "transfers of channel $1 that ended" "$3/$3" "$(value "$1" ended)"
}

# left: the bytes that were left of the transfer that the module spoke of last.
left() {
    rc 'dmesg' | sed -nE 's/.*: transfer .*, ([0-9]+) bytes left/\1/p' | tail -1
}

# counted CHANNEL KEY: what the channels' driver has counted.
counted() {
    rc "sed -nE 's/^$1 .* $2=([0-9]+).*/\\1/p' /sys/kernel/debug/$FUNCTION/dw_edma_aux"
}

set_up
# Where the EP's memory begins, and ends: 512 MiB, of which its kernel has but 384.
start=$(ep "sed -nE 's/^([0-9a-f]+)-[0-9a-f]+ : System RAM/0x\\1/p' /proc/iomem" | head -1)
end=$((start + (512 << 20)))

for channel in 0 3; do
    for address in $end 0x3fff00000000; do
        echo "=== channel $channel, to $address, where the EP has nothing"
        on rc start $channel $((address)) 170 1000 1
        fails $channel WriteFailed 1
        same "what is left" "$(value $channel bytes)" "$(left)"
        same "the state of channel $channel" halted "$("$PAIR" inspect edma.read.channels.$channel.status)"
        moves $channel 4711 170 1000 2
    done
    echo "=== channel $channel, five that fail behind each other, and each is told"
    failed=$(counted $channel failed)
    on rc move $channel $end 0 4096 3 5
    fails $channel WriteFailed 5
    same "failures of channel $channel" $((failed + 5)) "$(counted $channel failed)"
    moves $channel 5 171 1000 4
done

echo '=== the end of the memory is in mid-list: what was moved is not left'
on rc fill 1
on rc start 1 $((end - 40000)) 100 1000 5
fails 1 WriteFailed 1
left=$(left) bytes=$(value 1 bytes)
[ "$left" -lt "$bytes" ] && [ "$left" -ge $((bytes - 40000)) ] || fail "$left of $bytes bytes are left, with room for 40000"
moves 1 0 100 1000 6

echo '=== the RC lets nobody read its memory, and hears no message'
command=$(rc setpci -s "$FUNCTION" COMMAND)
rc setpci -s "$FUNCTION" COMMAND=0002
on rc move 2 "${TARGET[2]}" 0 4096 7 3
fails 2 ReadFailed 3
rc setpci -s "$FUNCTION" COMMAND="$command"
moves 2 99 339 1000 8
for channel in "${CHANNELS[@]}"; do moves "$channel" 0 7 1000 9; done
rm -f said
