# shellcheck shell=bash
# Membership over real 802.11: join, ten minutes of calm at 20 % loss, detection of a radio that is
# switched off, return. Runs inside the virtual machine:
#
#   tests/wifi/vm.sh -p 3 -t 1500 tests/wifi/gossip.sh [MINUTES] [PROGRAMS]
#
# MINUTES of calm: 10. PROGRAMS: the folder of agentd and agentctl, build/release/bin.
# Exit status 1: a node was called dead that was not, or a dead one was not noticed within 12 s.

minutes=${1:-10}
programs=${2:-$ROOT/build/release/bin}
pis=()
for ((i = 1; i <= PIS; i++)); do pis+=("pi$i"); done
failures=0

ctl() {
    local pi=$1
    shift
    "$programs/agentctl" --socket "/run/$pi/agent.sock" "$@"
}

now_ms() {
    date +%s%3N
}

start() {
    mkdir -p "/tmp/$1"
    printf 'node: %s\ninterface: wlan0\nstate_dir: /tmp/%s/state\nrun_dir: /run/%s\n' "$1" "$1" "$1" \
        >"/tmp/$1.yaml"
    wifi_run "$1" "$programs/agentd" --config "/tmp/$1.yaml" >"$OUT/$1.log" 2>&1 &
}

# await SECONDS COMMAND...: the milliseconds until it succeeds; fails after so many seconds.
await() {
    local began limit=$1
    shift
    began=$(now_ms)
    until "$@" >/dev/null 2>&1; do
        (($(now_ms) - began < limit * 1000)) || return 1
        sleep 0.05
    done
    echo $(($(now_ms) - began))
}

# all_see STATE OF PI...: every one of them says that OF is in STATE.
all_see() {
    local state=$1 of=$2 pi
    shift 2
    for pi; do
        ctl "$pi" -o json members |
            jq -e --arg of "$of" --arg state "$state" \
                '.items | any(.name == $of and .state == $state)' || return 1
    done
}

whole() {
    local pi
    for pi in "${pis[@]}"; do all_see alive "$pi" "${pis[@]}" || return 1; done
}

# Each path once: what the access point relays is not struck a second time.
lose() {
    wifi_loss "$1"
    wifi_run ap tc qdisc del dev wlan0 root 2>/dev/null
    return 0
}

deaths() {
    grep -ch 'is dead' "$OUT"/pi*.log | awk '{ n += $1 } END { print n }'
}

say() {
    echo "gossip over WiFi: $*"
}

fail() {
    say "FAILED: $*"
    failures=$((failures + 1))
}

for pi in "${pis[@]}"; do start "$pi"; done
for pi in "${pis[@]}"; do
    await 120 ctl "$pi" events >/dev/null && continue
    fail "agentd of $pi does not answer"
    tail -3 "$OUT/$pi.log"
    return 1
done
await 20 ctl pi1 init >/dev/null || fail "pi1 cannot found a flock"
token=$(ctl pi1 token create --uses "$PIS")
began=$(now_ms)
for pi in "${pis[@]:1}"; do ctl "$pi" join - <<<"$token" >/dev/null || fail "$pi cannot join"; done
if await 60 whole >/dev/null; then
    say "$PIS nodes joined and see each other after $((($(now_ms) - began))) ms"
else
    fail "the nodes do not see each other"
fi

lose 20
before=$(deaths)
say "20 % loss of every frame for $minutes minutes"
sleep $((minutes * 60))
wrong=$(($(deaths) - before))
say "wrong deaths: $wrong"
((wrong == 0)) || fail "$wrong wrong deaths in $minutes minutes"
say "paths as the nodes measure them:"
ctl pi1 net

last=${pis[-1]}
others=("${pis[@]:0:PIS-1}")
for loss in 20 0; do
    lose "$loss"
    sleep 30
    wifi_reach "$last" off
    if ms=$(await 30 all_see dead "$last" "${others[@]}"); then
        say "radio of $last off, $loss % loss: all know it after $ms ms"
        ((ms <= 12000)) || fail "detection took $ms ms"
    else
        fail "a radio that is off is not noticed at $loss % loss"
    fi
    wifi_reach "$last" on
    lose 0
    ms=$(await 90 whole) || fail "$last does not come back"
    say "radio of $last on: all is whole after $ms ms"
done
for pi in "${pis[@]}"; do kill -TERM "$(pgrep -f -o "agentd --config /tmp/$pi.yaml")"; done
((failures == 0))
