#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The commands of the series' cover letter, but for the controller's name, do on this pair what they do on two boards: the
# RC moves 4096 bytes into the EP with a channel of the EP's own eDMA, and the EP finds them right.
#
# function: none
# boot: own
# timeout: 180
. "$SUITE/lib.sh"

# as_written SIDE: runs what comes on stdin there, with the name that this EP's controller has.
as_written() {
    local script
    script=$(sed "s/e65d0000\.pcie-ep/$controller/")
    "$1" "set -ex
$script"
}

controller=$(ep 'basename /sys/kernel/config/pci_ep/controllers/*.pcie-ep')

echo '=== 1. Configure and start pci_epf_vntb with DMA export enabled.'
as_written ep <<'END'
modprobe pci_epf_vntb
cd /sys/kernel/config/pci_ep/
mkdir functions/pci_epf_vntb/func1
echo 0x1912 > functions/pci_epf_vntb/func1/vendorid
echo 0x0030 > functions/pci_epf_vntb/func1/deviceid
echo 32 > functions/pci_epf_vntb/func1/msi_interrupts
echo 16 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/db_count
echo 128 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/spad_count
echo 1 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/num_mws
echo 0xF9000 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/mw1
echo 0xF9000 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/dma_offset
echo 4 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/dma_num_chans
echo 0x1912 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/vntb_vid
echo 0x0030 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/vntb_pid
echo 0x10 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/vbus_number
echo 0 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/ctrl_bar
echo 2 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/mw1_bar
echo 2 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/dma_bar
echo 4 > functions/pci_epf_vntb/func1/pci_epf_vntb.0/db_bar
ln -s controllers/e65d0000.pcie-ep functions/pci_epf_vntb/func1/primary/
echo 1 > controllers/e65d0000.pcie-ep/start
END

echo '=== 2. Boot or rescan the RC side and let ntb_hw_epf probe.'
rc modprobe ntb_hw_epf
wait_for 20 'the RC to have the bridge' rc "test -e /sys/bus/ntb/devices/$FUNCTION"

echo '=== 3. Load ntb_ep_dma on both EP and RC.'
ep modprobe ntb_ep_dma
rc modprobe ntb_ep_dma

echo '=== 4. On the RC side, run the test as follows:'
same 'ready' 1 "$(as_written rc <<'END'
cat /sys/kernel/debug/ntb_ep_dma/0000:01:00.0/ready
END
)"
as_written rc <<'END'
echo 1 > /sys/kernel/debug/ntb_ep_dma/0000:01:00.0/run
END
as_written rc <<'END' | tee result
cat /sys/kernel/debug/ntb_ep_dma/0000:01:00.0/result
END
# Addresses are this pair's.
same 'the result' 'last_status: 0
last_len: 4096
local_buf_dma: (an address)
local_buf_size: 4096
peer_ready: 1
peer_state: pass
peer_dma: (an address)
peer_size: 4096
peer_seq: 1
peer_xfer_len: 4096
link_up: 1' "$(sed -E 's/0x[0-9a-f]{4,}$/(an address)/' result)"

echo '=== it was the eDMA, and the EP looked'
bytes=0
for channel in 0 1 2 3; do
    bytes=$((bytes + $("$PAIR" inspect "edma.read.channels.$channel.bytes" --json)))
done
same 'bytes that the read channels moved' 4096 "$bytes"
same "what the EP says of the RC" 'peer_state: xfer-done
peer_dma: '"$(sed -n 's/^local_buf_dma: //p' result)" \
    "$(ep 'grep -E "^peer_(state|dma)" /sys/kernel/debug/ntb_ep_dma/*/result')"

echo '=== what is wrong is called wrong'
# The second transfer's verdict comes with its own number; then the EP does not answer any more.
rc 'echo 1 > /sys/kernel/debug/ntb_ep_dma/0000:01:00.0/run'
same 'transfers' 'peer_seq: 2' "$(rc 'grep peer_seq /sys/kernel/debug/ntb_ep_dma/0000:01:00.0/result')"
ep rmmod ntb_ep_dma
same 'ready without a peer' 0 "$(rc 'cat /sys/kernel/debug/ntb_ep_dma/0000:01:00.0/ready')"
if rc 'echo 1 > /sys/kernel/debug/ntb_ep_dma/0000:01:00.0/run'; then fail 'a run without a peer succeeded'; fi
same 'the result without a peer' 'last_status: -107
peer_state: init' "$(rc 'grep -E "last_status|peer_state" /sys/kernel/debug/ntb_ep_dma/0000:01:00.0/result')"
rm result
