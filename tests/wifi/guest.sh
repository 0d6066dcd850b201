# shellcheck shell=bash
# The network inside the virtual machine, and what a test may do to it; sourced there by vm.sh.
#
#   ap      the router: bridge br0 with 10.77.0.1/24; in it wlan0, whose hostapd offers WPA2, and a cable
#   pi1 …   stations, 10.77.0.11 … on wlan0
#   client  a station, 10.77.0.100 on wlan0
#   desk    a wired host, 10.77.0.101 on eth0
#
# Addresses and names are those of provisioning/lab.sh; namespaces are called wifi-HOST.

WIFI=wifi
WIFI_RUN=/run/wifi
WIFI_ASSOCIATE_S=30

wifi_stations() {
    local i
    for ((i = 1; i <= PIS; i++)); do echo "pi$i"; done
    echo client
}

wifi_address() {
    case $1 in
    ap) echo 10.77.0.1 ;;
    pi*) echo "10.77.0.1${1#pi}" ;;
    client) echo 10.77.0.100 ;;
    desk) echo 10.77.0.101 ;;
    esac
}

# Its radio: phy0 is the access point's.
wifi_phy() {
    case $1 in
    ap) echo phy0 ;;
    client) echo "phy$((PIS + 1))" ;;
    *) echo "phy${1#pi}" ;;
    esac
}

# wifi_in HOST COMMAND...: becomes COMMAND there.
wifi_in() {
    local host=$1
    shift
    exec nsenter --net="/run/netns/$WIFI-$host" -- "$@"
}

wifi_run() {
    (wifi_in "$@")
}

# wifi_reach HOST on|off: a radio that is off neither sends nor hears, and nobody is told: a power cut.
wifi_reach() {
    local group=1
    [[ $2 == on ]] || group=2
    echo "$group" >"/sys/kernel/debug/ieee80211/$(wifi_phy "$1")/hwsim/group"
}

# wifi_hostapd ISOLATE: starts the access point anew, with the clients isolated (1) or not (0).
wifi_hostapd() {
    wifi_hostapd_stop
    printf '%s\n' interface=wlan0 bridge=br0 driver=nl80211 ssid=covey hw_mode=g channel=1 wpa=2 \
        wpa_passphrase=only-for-tests wpa_key_mgmt=WPA-PSK rsn_pairwise=CCMP ap_isolate="$1" \
        >"$WIFI_RUN/hostapd.conf"
    wifi_run ap hostapd -B -P "$WIFI_RUN/hostapd.pid" "$WIFI_RUN/hostapd.conf" \
        >>"$WIFI_RUN/hostapd.log" || cat "$WIFI_RUN/hostapd.log"
}

wifi_hostapd_stop() {
    local pid
    pid=$(cat "$WIFI_RUN/hostapd.pid" 2>/dev/null) || return 0
    kill -KILL "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    rm -f "$WIFI_RUN/hostapd.pid"
}

# wifi_broadcast pass|drop: what the access point does with broadcast frames to its stations. A frame that
# mac80211 relays from one station to another has its MAC addresses where its network header should be.
wifi_broadcast() {
    wifi_run ap nft delete table netdev wifi 2>/dev/null
    [[ $1 == pass ]] || wifi_run ap nft -f - <<RULES
table netdev wifi {
    chain out {
        type filter hook egress device wlan0 priority 0; policy accept;
        ether daddr ff:ff:ff:ff:ff:ff drop
        @nh,0,48 0xffffffffffff drop
    }
}
RULES
}

# wifi_loss PERCENT: of the frames that each station and the access point send.
wifi_loss() {
    local host
    for host in ap $(wifi_stations); do
        wifi_run "$host" tc qdisc del dev wlan0 root 2>/dev/null
        [[ $1 == 0 ]] || wifi_run "$host" tc qdisc add dev wlan0 root netem loss "$1%"
    done
}

wifi_associated() {
    wifi_run "$1" iw dev wlan0 link | grep -q '^Connected'
}

# wifi_wait HOST...: until they are associated and reach the router.
wifi_wait() {
    local host end
    for host in "$@"; do
        end=$((SECONDS + WIFI_ASSOCIATE_S))
        until wifi_associated "$host" &&
            wifi_run "$host" ping -c 1 -W 1 -q 10.77.0.1 >/dev/null 2>&1; do
            if ((SECONDS > end)); then
                echo "guest.sh: $host does not associate:" >&2
                tail -3 "$WIFI_RUN/$host.log" >&2
                return 1
            fi
            sleep 0.1
        done
    done
}

wifi_station_up() {
    local host=$1 phy
    phy=$(wifi_phy "$host")
    ip netns add "$WIFI-$host" && iw phy "$phy" set netns name "$WIFI-$host" &&
        ip -n "$WIFI-$host" link set lo up &&
        ip -n "$WIFI-$host" link set "wlan${phy#phy}" name wlan0 || return
    printf 'network={\n ssid="covey"\n psk="only-for-tests"\n scan_freq=2412\n}\n' \
        >"$WIFI_RUN/station.conf"
    wifi_run "$host" wpa_supplicant -B -i wlan0 -c "$WIFI_RUN/station.conf" -D nl80211 \
        -f "$WIFI_RUN/$host.log" >/dev/null &&
        ip -n "$WIFI-$host" address add "$(wifi_address "$host")/24" dev wlan0 &&
        ip -n "$WIFI-$host" link set wlan0 up
}

wifi_ap_up() {
    ip netns add "$WIFI-ap" && iw phy phy0 set netns name "$WIFI-ap" &&
        ip netns add "$WIFI-desk" &&
        ip -n "$WIFI-ap" link set lo up && ip -n "$WIFI-desk" link set lo up &&
        ip -n "$WIFI-ap" link add br0 type bridge forward_delay 0 mcast_snooping 0 &&
        ip -n "$WIFI-ap" address add 10.77.0.1/24 dev br0 &&
        ip -n "$WIFI-ap" link set br0 up &&
        ip -n "$WIFI-ap" link add port-desk type veth peer name eth0 netns "$WIFI-desk" &&
        ip -n "$WIFI-ap" link set port-desk master br0 up &&
        ip -n "$WIFI-desk" address add 10.77.0.101/24 dev eth0 &&
        ip -n "$WIFI-desk" link set eth0 up &&
        ip -n "$WIFI-desk" route add default via 10.77.0.1
}

wifi_up() {
    local host
    mkdir -p "$WIFI_RUN"
    ip link set lo up
    wifi_ap_up || return
    wifi_hostapd "$ISOLATE"
    for host in $(wifi_stations); do wifi_station_up "$host" || return; done
    for host in $(wifi_stations); do
        wifi_wait "$host" || return
        # A station that came up before it was associated has no route through the router.
        ip -n "$WIFI-$host" route replace default via 10.77.0.1
    done
}
