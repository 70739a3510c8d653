#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# --overlay, --append and --qemu-opts reach the side that they name, and no other.
#
# boot: none
# timeout: 180
. "$SUITE/lib.sh"
own_runtime

mkdir -p rc-root/etc rc-root/usr/local/bin both-root
echo 'from the host' >rc-root/etc/overlaid
printf '#!/bin/sh\necho run from an overlay\n' >rc-root/usr/local/bin/overlaid
chmod 755 rc-root/usr/local/bin/overlaid
echo later >both-root/second

pair_run 0 --function none --overlay "rc:$PWD/rc-root" --overlay "rc:$PWD/both-root" --overlay "ep:$PWD/both-root" \
    --append spider.test=both --append-ep spider.only=ep --append-rc 'spider.only=rc spider.more=1' \
    --qemu-opts-rc '-name "an RC of our own"' -- sh -ec '
        echo "rc file: $(rc cat /etc/overlaid)"
        echo "rc program: $(rc overlaid)"
        echo "rc second: $(rc cat /second), ep second: $(ep cat /second)"
        if ep test -e /etc/overlaid; then echo "the EP has the overlay of the RC"; fi
        echo "ep words: $(ep cat /proc/cmdline | grep -o "spider\.[a-z]*=[a-z0-9]*" | grep -v side | tr "\n" " ")"
        echo "rc words: $(rc cat /proc/cmdline | grep -o "spider\.[a-z]*=[a-z0-9]*" | grep -v side | tr "\n" " ")"
        rc "touch /etc/writable && rm /etc/writable" && echo "the root can be written"
        pgrep -fc "^[^ ]*qemu-system-aarch64.*an RC of our own" | sed "s/^/named: /"'
says 'rc file: from the host'
says 'rc program: run from an overlay'
says 'rc second: later, ep second: later'
says 'ep words: spider.test=both spider.only=ep '
says 'rc words: spider.test=both spider.only=rc spider.more=1 '
says 'the root can be written'
says 'named: 1'
! grep -q 'the EP has the overlay' said || fail "the EP has the RC's overlay"
rm -r rc-root both-root said
