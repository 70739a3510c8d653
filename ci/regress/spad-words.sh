#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# ntb_ep_dma against the published client, played by ntb_tool on the other side: each writes its own scratchpads and reads
# its peer's. The RC runs into a buffer of the EP's and believes its verdict; the EP lends the RC a buffer and judges.
#
# function: vntb-dma
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/regress/ep-dma.inc"

echo '=== the published client on the EP'
ep modprobe ntb_tool
rc modprobe ntb_ep_dma
same 'ready before the EP lends' 0 "$(rc "cat $(client rc)/ready")"
rc "echo 1 >$(client rc)/ready" && fail 'waiting for a peer that never comes succeeded'
# Writing `ready` waits for the peer.
rc "setsid sh -c 'echo 1 >$(client rc)/ready && touch /tmp/peer-came' </dev/null >/dev/null 2>&1 &"
lends ep
wait_for 6 'ready to have waited for the EP' rc rm /tmp/peer-came
same 'ready' 1 "$(rc "cat $(client rc)/ready")"

same 'what the RC lends, as the EP reads it' "$READY $LENGTH" "$(hears ep $STATE) $(hears ep $SIZE)"
same 'where' "$(($(result rc local_buf_dma)))" $(($(hears ep $ADDR_HI) << 32 | $(hears ep $ADDR_LO)))

rc "echo 0 >$(client rc)/run" && fail 'the RC ran when it was told 0'
# Any other number will do.
rc "setsid sh -c 'echo 7 >$(client rc)/run; echo \$? >/tmp/ran' </dev/null >/dev/null 2>&1 &"
over() { [ "$(hears ep $STATE)" = $XFER_DONE ]; }
wait_for 5 "the RC's transfer" over
same 'the number and the length of the transfer' "1 $LENGTH" "$(hears ep $SEQ) $(hears ep $XFER_LEN)"
says_words ep $SEQ 1 $XFER_LEN $LENGTH $STATE $PASS
rings ep
wait_for 5 'the run to end' rc test -e /tmp/ran
same "the run's status" 0 "$(rc 'cat /tmp/ran; rm /tmp/ran')"
same 'what the RC has heard' "0 pass 1" "$(result rc last_status) $(result rc peer_state) $(result rc peer_seq)"
for _ in $(seq 16); do printf '%b' "$(printf '\\x%02x' $(seq 0 255))"; done >wanted
same "the EP's buffer" "$(sum <wanted)" "$(ep "cat $(tool ep)/peer0/mw0" | sum)"
rm wanted
rc rmmod ntb_ep_dma
unlends ep
ep rmmod ntb_tool

echo '=== the published client on the RC'
ep modprobe ntb_ep_dma
rc modprobe ntb_tool
rc "echo Y >$(tool rc)/link"
wait_for 5 'the EP to lend' eval '[ "$(hears rc $STATE)" = $READY ]'
same 'where, as the RC reads it' "$(($(result ep local_buf_dma)))" $(($(hears rc $ADDR_HI) << 32 | $(hears rc $ADDR_LO)))
lends rc
wait_for 5 'the EP to be ready' ep "grep -qx 1 $(client ep)/ready"
# Nothing was sent, and the EP says so.
says_words rc $SEQ 1 $XFER_LEN $LENGTH $STATE $XFER_DONE
rings rc
wait_for 5 'the verdict' eval '[ "$(hears rc $SEQ) $(hears rc $STATE)" = "1 4" ]'
same 'what the EP has heard' 'xfer-done 1' "$(result ep peer_state) $(result ep peer_seq)"
unlends rc
rc rmmod ntb_tool
ep rmmod ntb_ep_dma
