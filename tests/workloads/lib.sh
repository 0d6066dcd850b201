# Sourced by the tests of the workloads. $1 of the test is the directory of the programs.
# shellcheck shell=bash disable=SC2034 # the tests read what is set here

set -euo pipefail

bin=$1
dir=$(mktemp -d)
pids=()
failures=0

cleanup() {
    local pid
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap cleanup EXIT

# start PROGRAM [VARIABLE=VALUE...]: runs it on a free port; sets pid, port, url and log.
start() {
    local program=$1
    shift
    log=$dir/$program.$((${#pids[@]} + 1)).log
    env HOST=127.0.0.1 PORT=0 "$@" "$bin/$program" >"$log" 2>"$log.err" &
    pid=$!
    pids+=("$pid")
    wait_for logged started
    port=$(jq -r 'select(.message == "started").port' "$log")
    url=http://127.0.0.1:$port
}

# logged MESSAGE [JQ-CONDITION]: the log has such a line.
logged() {
    jq -es --arg m "$1" "any(.[]; .message == \$m and (${2:-true}))" "$log" >/dev/null 2>&1
}

# wait_for COMMAND...: until it succeeds, for at most 10 s.
wait_for() {
    local end=$((SECONDS + 60))
    until "$@"; do
        if ((SECONDS >= end)); then
            echo "gave up waiting for: $*" >&2
            cat "$log" "$log.err" >&2 || true
            exit 1
        fi
        sleep 0.02
    done
}

# stop: asks the program to end; sets status to its exit code.
stop() {
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
}

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# same WHAT GOT EXPECTED
same() {
    [[ $2 == "$3" ]] || fail "$1: got '$2', expected '$3'"
}

# request [CURL-ARGUMENT...]: sets code (000: no answer), headers and body.
request() {
    : >"$dir/headers"
    : >"$dir/body"
    code=$(curl -s --max-time 20 --path-as-is -D "$dir/headers" -o "$dir/body" -w '%{http_code}' "$@" || true)
    headers=$(tr -d '\r' <"$dir/headers")
    body=$(cat "$dir/body")
    rm -f "$dir/headers" "$dir/body"
}

header() {
    sed -n "s/^$1: //Ip" <<<"$headers"
}

# json FILTER: of the last body.
json() {
    jq -r "$1" <<<"$body"
}

# gone PID: it has ended.
gone() {
    ! kill -0 "$1" 2>/dev/null
}

finish() {
    if ((failures > 0)); then
        echo "$failures checks failed" >&2
        exit 1
    fi
    echo "ok"
}
