#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A memory window of 1 MiB each way: what one side writes is in the other's buffer, there and nowhere else.
#
# function: vntb
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

size=$((1 << 20))
chunk=16384

# window LOCAL TOOL REMOTE TOOL: LOCAL has the buffer, REMOTE writes and reads it through its window.
window() {
    local local=$1 local_tool=$2/peer0 remote=$3 remote_tool=$4/peer0 address offset
    echo "=== a buffer on the $local, written by the $remote"
    "$local" "echo $size >$local_tool/mw_trans0"
    address=$("$local" "sed -n 's/^DMA Address[ \t]*\(0x[0-9a-f]*\).*/\1/p' $local_tool/mw_trans0")
    [ -n "$address" ] || fail "$local: no DMA address in mw_trans0"
    address=$((address)) # ntb_tool prints it in one base and takes it in another
    "$remote" "echo $address:$size >$remote_tool/peer_mw_trans0"

    head -c $size /dev/urandom >"$local.wanted"
    "$local" "dd bs=64k iflag=fullblock of=$local_tool/mw0" <"$local.wanted"
    # At the start, across pages, at the very end.
    for offset in 0 $((123 * 4096 + 8)) $((size - chunk)); do
        head -c $chunk /dev/urandom >chunk
        dd if=chunk of="$local.wanted" bs=8 seek=$((offset / 8)) conv=notrunc status=none
        "$remote" "cat >/tmp/chunk; dd if=/tmp/chunk of=$remote_tool/peer_mw0 bs=$chunk seek=$offset oflag=seek_bytes conv=notrunc status=none" <chunk
        # A read through the window: also what pushes posted writes ahead of it.
        same "$remote reads at $offset what it wrote" "$(sum <chunk)" \
            "$("$remote" "dd if=$remote_tool/peer_mw0 bs=$chunk count=1 skip=$offset iflag=skip_bytes status=none" | sum)"
    done
    same "the $local's buffer" "$(sum <"$local.wanted")" \
        "$("$local" "dd if=$local_tool/mw0 bs=64k status=none" | sum)"
    rm chunk "$local.wanted"
    "$remote" "rm /tmp/chunk; echo $address:0 >$remote_tool/peer_mw_trans0"
    "$local" "echo 0 >$local_tool/mw_trans0"
}

tool_load
window ep "$EP_TOOL" rc "$RC_TOOL"
window rc "$RC_TOOL" ep "$EP_TOOL"
