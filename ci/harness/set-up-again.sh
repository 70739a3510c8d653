#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# `pair set-up` sets the function up again after a reboot of the EP under a command.
#
# boot: own
# timeout: 120

. "$SUITE/lib.sh"

before=$(boot_id ep)
ep reboot || true
wait_for 60 'the EP to be back' rebooted ep "$before"
"$PAIR" set-up
wait_for 30 'the function on the RC' rc test -c /dev/pci-endpoint-test.0
