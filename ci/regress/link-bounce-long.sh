#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# regress.link-bounce with 100,000 bounces a round.
#
# boot: none
# tier: soak
# timeout: 1800
BOUNCES=100000
. "$SUITE/regress/link-bounce.sh"
