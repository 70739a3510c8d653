#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC guest reboots while the EP stays up; the function works again.
#
# function: epf-test
# boot: own
# timeout: 240
. "$SUITE/lib.sh"

selftest_first 3 pci_ep_basic.MSI_TEST
ep_before=$(boot_id ep)
rc_before=$(boot_id rc)

# The guest may be gone before it can answer.
rc 'echo b >/proc/sysrq-trigger' || true
wait_for 90 'the RC guest to be up again' rebooted rc "$rc_before"
wait_for 60 "the function's driver to probe on the RC" rc test -c /dev/pci-endpoint-test.0
same "the EP guest's boot" "$ep_before" "$(boot_id ep)"

selftest pci_ep_bar.BAR0.BAR_TEST
selftest pci_ep_basic.MSI_TEST
selftest_first 4 pci_ep_data_transfer.memcpy.READ_TEST
