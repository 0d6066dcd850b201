# shellcheck shell=bash disable=SC2154,SC2034 # demo.sh sets dir, bin, prefix, lock
# What demo.sh and its checks share: progress, waiting, asking agents, git.

bold='' plain='' green='' red=''
if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' plain=$'\e[0m' green=$'\e[32m' red=$'\e[31m'
fi

step() {
    echo "${bold}==>${plain} $*"
}

# die STATUS TEXT...
die() {
    local status=$1
    shift
    echo "${red}demo.sh: $*${plain}" >&2
    exit "$status"
}

now_ms() {
    echo $((${EPOCHREALTIME/./} / 1000))
}

# quietly COMMAND...: its output is shown only if it fails.
quietly() {
    local output
    output=$("$@" 2>&1) || {
        echo "$output" >&2
        return 1
    }
}

# await SECONDS WHAT COMMAND...: repeats COMMAND until it succeeds, and says from the second second on
# what is awaited. 1 when the time is over.
await() {
    local limit=$1 what=$2 began said=0 elapsed status=0
    began=$(now_ms)
    shift 2
    until "$@" >/dev/null 2>&1; do
        elapsed=$((($(now_ms) - began) / 1000))
        if ((elapsed >= limit)) || [[ -n ${deadline:-} && $(now_ms) -gt $deadline ]]; then
            status=1
            break
        fi
        if ((elapsed > said)) && [[ -t 1 ]]; then
            printf '\r   waiting for %s: %d s \e[K' "$what" "$elapsed"
            said=$elapsed
        elif ((elapsed > said && elapsed % 5 == 1)); then
            echo "   waiting for $what: $elapsed s"
            said=$elapsed
        fi
        sleep 0.1
    done
    if ((said > 0)) && [[ -t 1 ]]; then
        printf '\r\e[K'
    fi
    return $status
}

# helper COMMAND...: in the background until the end of the demo. A function, or exec and a program.
helpers=()
helper() {
    (close_lock && "$@") &
    helpers+=($!)
}

# ctl PI COMMAND...: agentctl there.
ctl() {
    "$bin/agentctl" --socket "$dir/$1/run/agent.sock" "${@:2}"
}

# value PI EXPRESSION COMMAND...: of a command's JSON, by jq; the exit status of a degraded flock is no
# error here.
value() {
    local pi=$1 expression=$2 json
    shift 2
    json=$(ctl "$pi" -o json "$@" 2>/dev/null) || [[ -n $json ]] || return
    jq -er "$expression" <<<"$json" 2>/dev/null
}

# at HOST COMMAND...: in the network of a host.
at() {
    (lab_in "$prefix" "$@")
}

port_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# git in the demo's copy of the desired state, whatever this person's own settings are.
git_here() {
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -C "$dir/desired" \
        -c user.name="Covey demo" -c user.email=demo@covey.invalid "$@"
}

git_push() {
    git_here push -q pi1 HEAD:main
}

# Everything that the Pis say to each other, for the check that nobody can read it.
capture_gossip() {
    lab_in "$prefix" ap tcpdump -i port-pi1 -U --immediate-mode -w "$dir/gossip.pcap" "port 8801" >/dev/null 2>&1
}
