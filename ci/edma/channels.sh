#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The eDMA's driver finds four write and four read channels, and they are the dmaengine's.
#
# function: epf-test
. "$SUITE/lib.sh"

ep 'dmesg | grep -E "pcie-rcar-gen4 .*: eDMA: unroll T, 4 wr, 4 rd$"' || fail 'the driver did not find the channels'

channels=$(ep 'for channel in /sys/class/dma/dma*chan*; do
    case $(readlink -f "$channel") in *.pcie-ep/dma/*) echo "${channel##*/}" ;; esac
done')
same 'channels of the endpoint controller' 'dma0chan0 dma0chan1 dma0chan2 dma0chan3 dma0chan4 dma0chan5 dma0chan6 dma0chan7' "${channels//$'\n'/ }"
# One of each direction is pci-epf-test's.
same 'channels in use' 2 "$(ep 'grep -lvx 0 /sys/class/dma/dma0chan*/in_use | wc -l')"
