#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Bad usage is the harness's own status, 125, and says what would be good.
#
# boot: none
# timeout: 30
. "$SUITE/lib.sh"
own_runtime

status_of() {
    local status=0
    "$PAIR" "$@" >said 2>&1 </dev/null || status=$?
    cat said
    echo "status $status"
    got=$status
}

status_of run --edma 9 -- true
same 'the exit status' 125 "$got"
says 'a number of channels from 1 to 8'

status_of run --overlay "$PWD" -- true
same 'the exit status' 125 "$got"
says 'ep:DIR or rc:DIR'

status_of frobnicate
same 'the exit status' 125 "$got"

status_of test 'no.such.case'
same 'the exit status' 125 "$got"
says 'no case is called'

status_of inspect
same 'the exit status without a pair' 125 "$got"
says 'no pair is running'

status_of --help
same 'the exit status' 0 "$got"
says '124'
rm said
