# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# What the cases of exported DMA channels share. Begin with: . "$SUITE/lib.sh"; . "$SUITE/vntb-lib.sh"; . "$SUITE/dma-lib.sh"

# Modules of a guest that another one of their name was preferred to.
# shellcheck disable=SC2034
OTHERS=/lib/spider-pair/others

# What the seed's settings make of BAR 2: a window, and the slice behind it.
SLICE=0xf9000

# peek BAR OFFSET: a word of the function, as the RC reads it.
peek() {
    rc "mmio peek /sys/bus/pci/devices/$FUNCTION/resource$1 $(($2))"
}

# poke BAR OFFSET VALUE: the RC writes a word of the function.
poke() {
    rc "mmio poke /sys/bus/pci/devices/$FUNCTION/resource$1 $(($2)) $(($3))"
}

# kernel_says SIDE TEXT: that side's kernel has said TEXT since `listen SIDE`.
kernel_says() {
    "$1" "dmesg | sed '1,/case listens $listening/d'" | grep -F -- "$2" || fail "the ${1^^}'s kernel did not say \"$2\""
}

# listen SIDE…: what these sides' kernels say from now on is what `kernel_says` looks at.
listening=0
listen() {
    local side
    listening=$((listening + 1))
    for side; do
        "$side" "echo 'case listens $listening' >/dev/kmsg"
    done
}

# rc_reload: the RC's driver is loaded anew, and its client brings the link up.
rc_reload() {
    rc 'modprobe -r ntb_tool; modprobe -r ntb_hw_epf; modprobe ntb_hw_epf && modprobe ntb_tool'
    rc "echo Y >/sys/kernel/debug/ntb_tool/$FUNCTION/link"
    same "the link" Y "$(rc "cat /sys/kernel/debug/ntb_tool/$FUNCTION/peer0/link")"
}

# channels_in_use: how many DMA channels of the EP's controller have a client.
channels_in_use() {
    ep 'cat /sys/class/dma/*/in_use | awk "{ n += \$1 != 0 } END { print n }"'
}
