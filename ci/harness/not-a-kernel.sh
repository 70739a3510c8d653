#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A path that is no kernel is refused, and the message names it: 125.
#
# boot: none
# timeout: 120
. "$SUITE/lib.sh"
own_runtime
own_kernel

pair_run 125 --kernel /no/such/kernel -- true
says '/no/such/kernel'

mkdir empty
pair_run 125 --kernel "$PWD/empty" -- true
says "$PWD/empty is not a kernel"

echo 'hello' >text
pair_run 125 --kernel "$PWD/text" -- true
says "$PWD/text"

echo '=== a program for the host is no arm64 image either'
cp /bin/true program
pair_run 125 --kernel "$PWD/program" -- true
says "$PWD/program"
rm -r empty text program said
