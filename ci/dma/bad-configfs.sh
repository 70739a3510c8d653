#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Settings that cannot be met are refused when they are written, or else when the function is bound, with the reason;
# nothing stays behind, and good ones work afterwards.
#
# function: none
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

function=/sys/kernel/config/pci_ep/functions/pci_epf_vntb/func1

# set NAME VALUE: writes an attribute; fails if the kernel does not take it.
set_() {
    ep "f=$function/$1; [ -e \$f ] || f=$function/pci_epf_vntb.0/$1; echo $2 >\$f" 2>said
}

good="vendorid=0x1912 deviceid=0x0030 msi_interrupts=32 db_count=16 spad_count=128 num_mws=1 mw1=0xF9000
    dma_offset=0xF9000 dma_num_chans=4 vntb_vid=0x1912 vntb_pid=0x0030 vbus_number=0x10
    ctrl_bar=0 mw1_bar=2 dma_bar=2 db_bar=4"

# all_good: what the seed sets.
all_good() {
    local setting
    for setting in $good; do
        set_ "${setting%%=*}" "${setting#*=}" || fail "$setting: $(cat said)"
    done
}

# not_written NAME VALUE: an attribute keeps its value.
not_written() {
    local before
    # A window that there is none of can neither be written nor read.
    before=$(ep "cat $function/pci_epf_vntb.0/$1 2>&1; true")
    if set_ "$1" "$2"; then
        fail "$1 took $2"
    fi
    same "$1 after $2 was refused" "$before" "$(ep "cat $function/pci_epf_vntb.0/$1 2>&1; true")"
}

# not_bound REASON NAME=VALUE…: with these settings the function does not bind, and the EP's kernel says why.
not_bound() {
    local reason=$1 setting
    shift
    echo "=== $*: $reason"
    all_good
    for setting; do
        set_ "${setting%%=*}" "${setting#*=}" || fail "$setting: $(cat said)"
    done
    listen ep
    if ep "ln -s $function $(epc)/" 2>said; then
        fail "it bound with $*"
    fi
    kernel_says ep "$reason"
    same 'channels of the EP in use' 0 "$(channels_in_use)"
}

ep "modprobe pci_epf_vntb && mkdir $function"
echo '##### when it is written'
all_good
not_written db_count 2
not_written db_count 33
not_written num_mws 5
not_written mw1 nonsense
not_written mw2 0x1000
not_written vntb_vid 0x10000
not_written ctrl_bar 6
not_written dma_bar -2
not_written dma_num_chans 9
not_written dma_offset 0x100000000

echo '##### when it is bound'
not_bound 'dma_num_chans is set, dma_bar is not' dma_bar=-1
not_bound 'dma_offset 0xf8000 is not 0xf9000' dma_offset=0xF8000
not_bound 'DMA slice at 0xf9800, not a multiple of 0x1000' dma_offset=0xF9800
not_bound 'does not end at a power of two' dma_num_chans=3
not_bound 'does not end at a power of two' mw1=0xF0000 dma_offset=0xF0000
not_bound 'dma_bar 0 has another use' dma_bar=0 dma_offset=0
not_bound 'dma_bar 4 has another use' dma_bar=4 dma_offset=0
not_bound 'BAR 2 has two uses' db_bar=2
not_bound 'msi_interrupts 16 is not 20' msi_interrupts=16
# Nobody said how many there are to be, and 32 are too few.
not_bound 'db_count 32 and dma_num_chans 4 need 36 MSIs, and there are 32' msi_interrupts=0 db_count=32
not_bound 'spad_count 1073741824 is too large' spad_count=0x40000000
not_bound 'spad_count 131072 is too large' spad_count=0x20000
# The hardware has four.
not_bound 'DMA read channel 4 is not there or in use' dma_num_chans=8 mw1=0xF5000 dma_offset=0xF5000

echo '##### good settings, after all that'
all_good
ep "ln -s $function $(epc)/"
same 'channels of the EP in use' 4 "$(channels_in_use)"
not_written db_count 8
ep "rm $(epc)/func1 && rmdir $function && rmmod pci_epf_vntb"
same 'channels of the EP in use' 0 "$(channels_in_use)"
