#!/bin/bash
# log-generator: its lines, its scenarios, its rate and its end.
# shellcheck source=tests/workloads/lib.sh
source "$(dirname "$0")/lib.sh"

log=$dir/generator.log
generate() {
    status=0
    env LOG_INTERVAL_MIN=0 LOG_INTERVAL_MAX=0 "$@" "$bin/log-generator" >"$log" 2>"$log.err" || status=$?
}

generate LOG_COUNT=20000
same "lines" "$status $(wc -l <"$log")" "0 20000"
same "levels" "$(jq -r .level "$log" | sort -u | xargs)" "CRITICAL DEBUG ERROR INFO WARNING"
same "members" "$(jq -s 'all(.[]; .logger == "log-generator" and (.timestamp | endswith("Z")) and (keys | length > 4))' "$log")" true
# 40 of 100 lines are requests; 20,000 draws lie within a tenth of that all but surely.
same "mixture" "$(jq -s '[.[] | select(.message == "API request completed")] | length | . > 7200 and . < 8800' "$log")" true
same "uuids" "$(jq -r '.session_id // .request_id // empty' "$log" | grep -Evc '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' || true)" 0
generate LOG_COUNT=2000 LOG_SCENARIO=incident
same "incident" "$(jq -s '[.[] | select(.level == "CRITICAL")] | length > 300' "$log")" true
generate LOG_COUNT=2000 LOG_SCENARIO=web
same "web" "$(jq -s '[.[] | select(.level == "CRITICAL")] | length' "$log")" 0
generate LOG_COUNT=100 LOG_LEVEL=error
same "level" "$(jq -r .level "$log" | sort -u | grep -Evc 'ERROR|CRITICAL' || true)" 0
generate LOG_SCENARIO=party LOG_RATE=x
same "wrong variables" "$status $(sort "$log.err" | cut -d: -f2 | xargs)" "2 LOG_RATE=x LOG_SCENARIO=party"

# A rate: lines appear one by one, and SIGTERM ends it with whole lines.
LOG_RATE=200 "$bin/log-generator" >"$log" 2>"$log.err" &
pid=$!
pids+=("$pid")
written() {
    (($(wc -l <"$log") >= $1))
}
wait_for written 20
stop
same "stopped" "$status $(jq -s 'length >= 20' "$log")" "0 true"

# A reader that goes away is no reason to go on.
status=0
LOG_INTERVAL_MAX=0 LOG_COUNT=100000 "$bin/log-generator" 2>"$log.err" | head -1 >/dev/null || status=${PIPESTATUS[0]}
same "no reader" "$status $(cut -d: -f2 "$log.err")" "1  lines were lost"
finish
