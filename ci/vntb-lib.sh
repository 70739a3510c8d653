# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# What the cases of the stock vNTB share. Begin with: . "$SUITE/lib.sh"; . "$SUITE/vntb-lib.sh"

# both CMD…: runs CMD in both guests at once; fails if either does.
both() {
    local status=0 pid
    ep "$@" &
    pid=$!
    rc "$@" || status=$?
    wait "$pid" || status=$?
    return "$status"
}

# both_load MODULE [PARAMETER=VALUE…]: a client of the NTB in both guests, until the case ends.
both_load() {
    both_loaded="$1 ${both_loaded-}"
    trap 'unload_all' EXIT
    both modprobe "$@"
}

# What both_load loaded goes again, last one first, however the case ends.
unload_all() {
    # shellcheck disable=SC2086
    both modprobe -r $both_loaded
}

# ntb SIDE: the NTB device of that side. The EP's is on a bus of its own, whose domain the kernel counts up.
ntb() {
    case $1 in
    ep) ep 'cd /sys/bus/ntb/devices && echo *' ;;
    rc) echo "$FUNCTION" ;;
    esac
}

# --- ntb_tool

# tool_load: ntb_tool in both guests, the link up; sets EP_TOOL and RC_TOOL, their directories in debugfs.
tool_load() {
    both_load ntb_tool
    EP_TOOL=/sys/kernel/debug/ntb_tool/$(ntb ep)
    RC_TOOL=/sys/kernel/debug/ntb_tool/$FUNCTION
    rc "echo Y >$RC_TOOL/link"
    link_is Y
}

# link_is Y|N: what both sides say of the NTB's link.
link_is() {
    same "the link, as the RC sees it" "$1" "$(rc "cat $RC_TOOL/peer0/link")"
    same "the link, as the EP sees it" "$1" "$(ep "cat $EP_TOOL/peer0/link")"
}

# --- The network (cases with --net, or after net_load)

# net_load [PARAMETER=VALUE…]: a network as --net makes it, with these parameters of ntb_transport, until the case ends.
net_load() {
    both_load ntb_transport "$@"
    both_load ntb_netdev
    net_up
}

# net_up: the interfaces of a freshly loaded ntb_netdev, as --net does it.
net_up() {
    local script=/usr/local/share/spider-pair/functions/net.sh pid
    ep "$script ep $EP_ADDRESS rc $RC_ADDRESS" &
    pid=$!
    rc "$script rc $RC_ADDRESS ep $EP_ADDRESS"
    wait "$pid"
}

# shellcheck disable=SC2034
EP_ADDRESS=10.0.0.10
# shellcheck disable=SC2034
RC_ADDRESS=10.0.0.11

# The interface of ntb_netdev in a guest, in a command that runs there.
# shellcheck disable=SC2034
INTERFACE='$(ls /sys/bus/ntb_transport/devices/ntb_netdev0/net)'

# other SIDE: the other one.
other() {
    case $1 in
    ep) echo rc ;;
    rc) echo ep ;;
    esac
}

# quiet: no packet but the case's own, until it ends: no IPv6, and nobody has to be asked for an address. The pair must be
# one with --net.
quiet() {
    trap 'loud' EXIT
    both "echo 1 >/proc/sys/net/ipv6/conf/$INTERFACE/disable_ipv6"
    ep "ip neigh replace $RC_ADDRESS lladdr $(rc "cat /sys/class/net/$INTERFACE/address") dev $INTERFACE nud permanent"
    rc "ip neigh replace $EP_ADDRESS lladdr $(ep "cat /sys/class/net/$INTERFACE/address") dev $INTERFACE nud permanent"
    no_loss rc -c 2 -W 10 ep
}

# loud: what quiet did is undone.
loud() {
    ep "ip neigh del $RC_ADDRESS dev $INTERFACE"
    rc "ip neigh del $EP_ADDRESS dev $INTERFACE"
    both "echo 0 >/proc/sys/net/ipv6/conf/$INTERFACE/disable_ipv6"
}

# ring SIDE NAME: what ntb_transport says of that side's queue 0: tx_index, rx_pkts, free tx, QP Link and more.
ring() {
    "$1" "sed -nE 's/^$2[^-]*-[[:space:]]*//p' /sys/kernel/debug/ntb_transport/*/qp0/stats"
}

# heard SIDE: it has begun its ring anew since the last packet that it received, and its queue is up.
heard() {
    [ "$(ring "$1" rx_pkts)" = 0 ] && [ "$(ring "$1" 'QP Link')" = Up ]
}

# no_loss SIDE ARGUMENT…: all of these pings from SIDE are answered, each once.
#
# By the IP stack's count of the answers: on a busy machine ping itself loses some, since its socket's buffer holds one
# packet as ntb_netdev receives it, in 64 KiB and more whatever is in it.
no_loss() {
    local side=$1 output before sent
    shift
    before=$(echo_replies "$side")
    output=$("$side" ping -A "$@") || true
    printf '%s\n' "$output"
    sent=$(sed -nE 's/^([0-9]+) packets transmitted.*/\1/p' <<<"$output")
    [ "${sent:-0}" -gt 0 ] || fail "$side: ping $*: nothing was sent"
    ! grep -qE 'duplicates|errors|DUP!|wrong data' <<<"$output" || fail "$side: ping $*: duplicates or errors"
    answered() {
        [ "$(echo_replies "$side")" -ge $((before + sent)) ]
    }
    (wait_for 10 "answers to all of $sent pings of $side ($*)" answered) || fail "$side: ping $*: $(($(echo_replies "$side") - before)) \
of $sent answered; dropped since the boot, rx and tx: EP $(dropped ep), RC $(dropped rc)"
    same "answers to $side's pings ($*)" "$sent" $(($(echo_replies "$side") - before))
}

# dropped SIDE: how many packets its interface has dropped, as when there is no memory for another of 64 KiB.
dropped() {
    "$1" "cd /sys/class/net/$INTERFACE/statistics && echo \$(cat rx_dropped tx_dropped)"
}

# echo_replies SIDE: how many of its pings have been answered since the boot.
echo_replies() {
    "$1" "awk '/^Icmp:/ { if (n) print \$n; for (i = 2; i <= NF; i++) if (\$i == \"InEchoReps\") n = i }' /proc/net/snmp"
}

# no_bad_packets: neither side's interface or IP stack has seen a damaged or refused packet since the boot.
no_bad_packets() {
    local side bad
    for side in ep rc; do
        bad=$("$side" "cd /sys/class/net/$INTERFACE/statistics && grep . rx_errors rx_length_errors rx_crc_errors tx_errors | grep -v ':0\$'
            awk '/^(Udp|Tcp|Icmp):/ { if (\$1 in head) { split(head[\$1], name); for (i = 2; i <= NF; i++) if (name[i] == \"InCsumErrors\" && \$i) print \$1, name[i], \$i } else head[\$1] = \$0 }' /proc/net/snmp")
        [ -z "$bad" ] || fail "$side: $bad"
    done
}

# sum: the SHA-256 of stdin.
sum() {
    sha256sum | cut -d' ' -f1
}

# nc_file FROM TO TO-ADDRESS BYTES [udp]: a file of BYTES goes from one guest to the other and is the same there. UDP: in
# datagrams of 16 KiB, which is how nc reads.
nc_file() {
    local from=$1 to=$2 address=$3 bytes=$4 protocol=${5-tcp} send='-N' receive='' wanted got pid
    [ "$protocol" = tcp ] || send='-u -q 1' receive="-u -W $(((bytes + 16383) / 16384))"
    wanted=$("$from" "head -c $bytes /dev/urandom >/tmp/sent && cat /tmp/sent" | sum)
    "$to" "timeout 60 nc -l $receive 5001 >/tmp/received" &
    pid=$!
    wait_for 20 "nc on the $to to listen" "$to" "ss -Hln --$protocol sport = 5001 | grep -q ."
    "$from" "timeout 60 nc $send $address 5001 </tmp/sent"
    wait "$pid" || fail "$from to $to: not all of $bytes bytes came by $protocol"
    got=$("$to" cat /tmp/received | sum)
    same "$from to $to, $bytes bytes by $protocol: the checksum" "$wanted" "$got"
    both rm -f /tmp/sent /tmp/received
}

# traffic_starts: TCP from the EP and pings from the RC, until a side or its stack goes.
traffic_starts() {
    # One that a cut connection keeps busy would take no other.
    rc 'pkill -KILL iperf3; while pgrep -x iperf3; do sleep 0.1; done; iperf3 -s -D'
    wait_for 20 'iperf3 on the RC to listen' rc 'ss -Hlnt sport = 5201 | grep -q .'
    ep 'setsid iperf3 --forceflush -c rc -t 600 </dev/null >/tmp/iperf3.log 2>&1 & setsid ping -i 0.1 rc </dev/null >/tmp/ping.log 2>&1 &'
    wait_for 20 'TCP to flow' ep "grep -qE '[1-9][0-9.]* [KMG]?bits/sec' /tmp/iperf3.log"
}

# traffic_flows: pings and TCP, both ways.
traffic_flows() {
    ep 'pkill iperf3; pkill ping; true'
    no_loss rc -c 10 -W 10 ep
    no_loss ep -c 10 -W 10 rc
    nc_file rc ep $EP_ADDRESS 500000
    nc_file ep rc $RC_ADDRESS 500000
}
