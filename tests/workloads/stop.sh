#!/bin/bash
# How the HTTP workloads start wrongly and stop gracefully.
# shellcheck source=tests/workloads/lib.sh
source "$(dirname "$0")/lib.sh"

in_flight() {
    grep -q "^http_requests_in_flight $(($1 + 1))\$" <<<"$(curl -s --max-time 5 "$url/metrics")"
}
refused() {
    local rc=0
    curl -s --max-time 5 -o /dev/null "$url/health" || rc=$?
    ((rc == 7))
}
# slow_request NAME: in the background; its status code and body land in files of that name.
slow_request() {
    curl -s --max-time 30 -o "$dir/$1.body" -w '%{http_code}' "$url/api/process" >"$dir/$1.code" &
    clients+=("$!")
}
clients=()

# Requests in flight are answered, new connections refused, idle ones do not delay the end.
start rest-api PROCESS_MIN=2 PROCESS_MAX=2 PROCESS_FAILURE_RATE=0
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n' >&3
read -r -t 10 answer <&3
same "idle connection" "${answer%$'\r'}" "HTTP/1.1 200 OK"
slow_request one
slow_request two
wait_for in_flight 2
kill -TERM "$pid"
wait_for refused
gone "$pid" && fail "it did not wait for the requests in flight"
wait "${clients[@]}"
status=0
wait "$pid" || status=$?
exec 3>&-
same "exit code" "$status" 0
same "first" "$(cat "$dir/one.code") $(jq -r .status "$dir/one.body")" "200 success"
same "second" "$(cat "$dir/two.code") $(jq -r .status "$dir/two.body")" "200 success"
same "cut" "$(jq 'select(.message == "stopped").requests_cut' "$log")" 0

# What does not finish in time is told so.
start rest-api PROCESS_MIN=60 PROCESS_MAX=60 SHUTDOWN_TIMEOUT=0
clients=()
slow_request late
wait_for in_flight 1
stop
wait "${clients[@]}"
same "exit code after the cut" "$status" 0
same "cut request" "$(cat "$dir/late.code") $(jq -r .detail "$dir/late.body")" \
    "503 the service is stopping"
same "cut count" "$(jq 'select(.message == "stopped").requests_cut' "$log")" 1

# SIGINT does the same; a client that disappears while it is deferred does no harm.
start rest-api PROCESS_MIN=60 PROCESS_MAX=60 SHUTDOWN_TIMEOUT=1
curl -s --max-time 1 -o /dev/null "$url/api/process" || true
kill -INT "$pid"
status=0
wait "$pid" || status=$?
same "exit code after SIGINT" "$status" 0

# An address that is taken, and variables that are wrong: all of them are named.
start metrics-app
status=0
HOST=127.0.0.1 PORT=$port "$bin/rest-api" >"$dir/out" 2>"$dir/err" || status=$?
same "port taken" "$status $(cat "$dir/err")" \
    "1 rest-api: listen on 127.0.0.1 port $port: Address already in use"
status=0
HOST=localhost PORT=70000 LOG_LEVEL=loud PROCESS_MIN=2 PROCESS_MAX=1 HTTP_THREADS=0 \
    "$bin/rest-api" >"$dir/out" 2>"$dir/err" || status=$?
same "wrong variables" "$status
$(sort "$dir/err")" '2
rest-api: HOST="localhost": expected an IPv4 or IPv6 address
rest-api: HTTP_THREADS="0": expected a whole number from 1 to 16
rest-api: LOG_LEVEL="loud": expected one of debug, info, warning, error, critical, off
rest-api: PORT="70000": expected a whole number from 0 to 65535
rest-api: PROCESS_MAX="1": expected not less than PROCESS_MIN, which is 2'
same "nothing on stdout" "$(cat "$dir/out")" ""

# With the log off nothing is written, and IPv6 works as IPv4 does.
HOST=::1 PORT=$port LOG_LEVEL=off "$bin/rest-api" >"$dir/out" 2>&1 &
pid=$!
pids+=("$pid")
answers() {
    curl -s --max-time 5 -o /dev/null "http://[::1]:$port/health"
}
if [[ -e /proc/net/if_inet6 ]] && grep -q ' lo$' /proc/net/if_inet6; then
    wait_for answers
    stop
    same "silent" "$status $(cat "$dir/out")" "0 "
fi
finish
