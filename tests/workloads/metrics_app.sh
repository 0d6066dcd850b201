#!/bin/bash
# metrics-app: simulated traffic whose metrics agree with one another and with the log.
# shellcheck source=tests/workloads/lib.sh
source "$(dirname "$0")/lib.sh"

start metrics-app INTERVAL=0.05
batches() {
    (($(jq -s '[.[] | select(.message == "generated")] | length' "$log" 2>/dev/null || echo 0) >= $1))
}
wait_for batches 5
same "size of batches" "$(jq -s '[.[] | select(.message == "generated").requests] |
    min >= 10 and max <= 50' "$log")" true

# A batch may run while the page is written, so the program is asked with a long interval.
stop
same "exit code" "$status" 0
start metrics-app INTERVAL=3600 REQUESTS_MIN=400 REQUESTS_MAX=500
wait_for batches 1
request "$url/metrics"
same "page" "$code $(header content-type)" "200 text/plain; version=0.0.4; charset=utf-8"

# total NAME [PATTERN]: the sum over the series.
total() {
    grep "^$1[{ ]" <<<"$body" | grep -e "${2:-}" | awk '{s += $NF} END {printf "%d", s}'
}
generated=$(jq 'select(.message == "generated").requests' "$log")
same "requests" "$(total http_requests_total)" "$generated"
same "durations" "$(total http_request_duration_seconds_count)" "$generated"
same "endless bucket" "$(total http_request_duration_seconds_bucket 'le="+Inf"')" "$generated"
same "errors" "$(total http_errors_total)" "$(total http_requests_total 'status="[45]00"')"
(($(total http_errors_total) > 0)) || fail "no errors in $generated requests"
same "connections" "$(total http_active_connections)" \
    "$(jq 'select(.message == "generated").active_connections' "$log")"
same "types" "$(grep '^# TYPE http_' <<<"$body" | cut -d' ' -f3- | sort | xargs)" \
    "http_active_connections gauge http_errors_total counter http_request_duration_seconds histogram http_requests_total counter"
grep -Eq '^http_errors_total\{method="[A-Z]+",endpoint="/[a-z/]*",status="[45]00"\} ' <<<"$body" ||
    fail "errors lack their labels"
# The server's own requests are not mixed into the simulated ones.
request "$url/metrics"
same "own requests" "$(total http_requests_total)" "$generated"
# Every line is a comment or a sample of the text format.
same "format" "$(grep -Ev '^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [-+0-9.eInfNa]+)$' <<<"$body" || true)" ""
request "$url/health"
same "health" "$code $(json .service)" "200 metrics-app"
stop
same "exit code in a long wait" "$status" 0
finish
