#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Runs every fuzz target for an equal part of SECONDS, one after the other, at the lowest priority. Ends at the first finding.
set -eu
seconds=${1:?usage: campaign.sh SECONDS}
cd "$(dirname "$0")/.."
targets=$(cargo +nightly fuzz list)
share=$((seconds / $(echo "$targets" | wc -l)))
for target in $targets; do
	dict=fuzz/$target.dict
	[ -e "$dict" ] && set -- "-dict=$dict" || set --
	echo "== $target, $share s"
	nice -n 19 cargo +nightly fuzz run "$target" -- "$@" \
		-max_total_time="$share" -timeout=30 -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0
done
echo "== nothing found"
