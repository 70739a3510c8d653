# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# The table of ci/bench/dma.sh, from lines "MODE WAY SIZE DEPTH NANOSECONDS TRANSFERS READS". Ends with 1 if a goal is missed.

{
    key = $1 " " $2 " " $3 " " $4
    n = ++count[key]
    took[key, n] = $5 / $6
    reads[key, n] = $7 / $6
}

function median(of, key,    n, i, j, v, t) {
    n = count[key]
    if (!n) { print "no figure for " key; failed = 1; exit }
    for (i = 1; i <= n; i++) v[i] = of[key, i]
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
    return v[int((n + 1) / 2)]
}

# A ratio or count, what it should be, if it should be anything, and whether it is not.
function judged(format, value, how, goal,    met) {
    if (how == "") return sprintf(format, value)
    met = how == "at least" ? value >= goal : how == "at most" ? value <= goal : value < goal
    if (!met) failed = 1
    return sprintf(format " (%s %s)%s", value, how, goal, met ? "" : " MISSED")
}

END {
    if (failed) exit 1
    split(sizes, size, " ")
    for (mode = 1; mode <= 2; mode++) {
        name = mode == 1 ? "trap" : "fast"
        printf "%-6s %8s %5s %9s %9s %8s %9s  %-20s %-20s %s\n", name, "bytes", "depth", "delegated", "ops/s", "CPU", "EP-local",
            "of CPU", "of EP-local", "reads a transfer"
        for (s = 1; s in size; s++) for (d = 1; d <= 2; d++) {
            depth = d == 1 ? 1 : 32
            bytes = size[s]
            key = name " rc " bytes " " depth
            ns = median(took, key)
            cpu = (bytes < window ? bytes : window) * 1e3 / median(took, name " cpu " bytes " 1")
            own = bytes * 1e3 / median(took, name " ep " bytes " " depth)
            rate = bytes * 1e3 / ns
            printf "%-6s %8d %5d %9.1f %9.0f %8.1f %9.1f  %-20s %-20s %s\n", "", bytes, depth, rate, 1e9 / ns, cpu, own,
                judged("%.2f", rate / cpu, mode == 1 && bytes == 65536 ? "at least" : "", 20),
                judged("%.2f", rate / own, bytes == 1048576 ? "at least" : "", 0.8),
                judged("%.3f", median(reads, key), d == 1 ? "at most" : "below", d == 1 ? 2 : 0.1)
        }
    }
    exit failed
}
