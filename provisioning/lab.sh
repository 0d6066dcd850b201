# shellcheck shell=bash
# A flock's network in namespaces of one machine; sourced by demo.sh and by tests.
#
#   ap       the router: bridge br0 with 10.77.0.1/24, one port per host
#   pi1 pi2  10.77.0.11, 10.77.0.12 on wlan0; up to pi80 where LAB_PIS names them
#   client   10.77.0.100 on wlan0
#
# The namespaces are called <prefix>-<host>; nothing outside of them is touched, so labs of different
# prefixes live side by side. Everything here needs root. Functions return 1 after saying why.

LAB_GATEWAY=10.77.0.1
LAB_PIS=(pi1 pi2)

lab_address() {
    case $1 in
    ap) echo 10.77.0.1 ;;
    pi[1-9] | pi[1-7][0-9] | pi80) echo "10.77.0.$((10 + ${1#pi}))" ;;
    client) echo 10.77.0.100 ;;
    esac
}

# A Pi that was switched off comes back with the same radio.
lab_mac() {
    case $1 in
    pi[1-9] | pi[1-7][0-9] | pi80) printf '02:c0:7e:00:00:%02x\n' $((16 + ${1#pi})) ;;
    client) echo 02:c0:7e:00:01:00 ;;
    esac
}

# lab_possible: whether this machine lets us make namespaces and what a Pi's network needs.
lab_possible() {
    local name=covey-probe-$$ reason
    if ((EUID != 0)); then
        echo "network namespaces need root: run this as root or through sudo" >&2
        return 1
    fi
    if ! reason=$(ip netns add "$name" 2>&1); then
        echo "this machine lets nobody make network namespaces: $reason" >&2
        return 1
    fi
    reason=$({
        ip -n "$name" link add covey0 type bridge &&
            ip -n "$name" link add covey1 type veth peer name covey2 &&
            ip netns exec "$name" nft add table inet covey_probe
    } 2>&1) || {
        ip netns del "$name"
        echo "this machine's namespaces lack a bridge, veth or nftables: $reason" >&2
        return 1
    }
    ip netns del "$name"
}

# lab_host_up PREFIX HOST: makes a host's namespace and its link to the access point.
lab_host_up() {
    local namespace=$1-$2 host=$2
    ip netns add "$namespace" &&
        ip -n "$namespace" link set lo up &&
        ip -n "$namespace" link add wlan0 address "$(lab_mac "$host")" type veth \
            peer name "port-$host" netns "$1-ap" &&
        ip -n "$1-ap" link set "port-$host" master br0 up &&
        ip -n "$namespace" address add "$(lab_address "$host")/24" dev wlan0 &&
        ip -n "$namespace" link set wlan0 up &&
        ip -n "$namespace" route add default via "$LAB_GATEWAY"
}

# lab_up PREFIX: the whole network.
lab_up() {
    local host
    ip netns add "$1-ap" &&
        ip -n "$1-ap" link set lo up &&
        ip -n "$1-ap" link add br0 type bridge forward_delay 0 mcast_snooping 0 &&
        ip -n "$1-ap" address add "$(lab_address ap)/24" dev br0 &&
        ip -n "$1-ap" link set br0 up || return
    for host in "${LAB_PIS[@]}" client; do
        lab_host_up "$1" "$host" || return
    done
}

# lab_pids PREFIX HOST: the processes in its network, whoever started them.
lab_pids() {
    ip netns pids "$1-$2" 2>/dev/null
}

# lab_host_down PREFIX HOST: a power cut. SIGKILL for everything that runs there, and its link is gone.
lab_host_down() {
    local namespace=$1-$2 tries pids
    [[ -e /run/netns/$namespace ]] || return 0
    pids=$(lab_pids "$1" "$2" | xargs)
    # shellcheck disable=SC2086 # one word each
    [[ -z $pids ]] || kill -KILL $pids 2>/dev/null
    ip -n "$namespace" link set wlan0 down 2>/dev/null
    # What was being started at that moment is found by looking again.
    for ((tries = 0; tries < 100; tries++)); do
        pids=$(lab_pids "$1" "$2" | xargs)
        [[ -n $pids ]] || break
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null
        sleep 0.02
    done
    [[ $2 == ap ]] || ip -n "$1-ap" link del "port-$2" 2>/dev/null
    ip netns del "$namespace"
}

# lab_down PREFIX: everything that lab_up made, and what runs in it.
lab_down() {
    local host
    for host in client "${LAB_PIS[@]}" ap; do
        lab_host_down "$1" "$host"
    done
    return 0
}

# lab_in PREFIX HOST COMMAND...: becomes COMMAND in the host's network. Without ip-netns(8), which would
# hide the machine's /sys. Meant for a subshell or a background job: it replaces the shell.
lab_in() {
    local namespace=$1-$2
    shift 2
    exec nsenter --net="/run/netns/$namespace" -- "$@"
}
