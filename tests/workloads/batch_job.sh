#!/bin/bash
# batch-job: a run, its exit code, what it logs and the metrics that it leaves.
# shellcheck source=tests/workloads/lib.sh
source "$(dirname "$0")/lib.sh"

log=$dir/batch.log
# run [VARIABLE=VALUE...]: sets status.
run() {
    status=0
    env DELAY_MIN=0 DELAY_MAX=0 "$@" "$bin/batch-job" >"$log" 2>"$log.err" || status=$?
}
last() {
    jq -rs "last | $1" "$log"
}
metric() {
    grep -v '^#' "$dir/batch.prom" | grep -F "$1 " | awk '{print $NF}'
}

run METRICS_FILE="$dir/batch.prom"
same "run" "$status $(last .message)" "0 Batch finished"
same "50 to 200 records" "$(last '.records >= 50 and .records <= 200')" true
same "sum" "$(last '.records == .success + .failed')" true
same "failures logged" "$(jq -s '[.[] | select(.message == "Record failed" and .level == "ERROR")] | length' "$log")" \
    "$(last .failed)"
same "one job id" "$(jq -r .job_id "$log" | sort -u | wc -l)" 1
same "job" "$(jq -r .job "$log" | sort -u)" batch-job
same "metrics" "$(metric batch_job_success) $(metric 'batch_job_records{result="success"}')" \
    "1 $(last .success)"
same "only the metrics are left" "$(ls "$dir")" "$(printf '%s\n' batch.log batch.log.err batch.prom)"

run BATCH_RECORDS=100 FAILURE_RATE=1 METRICS_FILE="$dir/batch.prom"
same "all fail" "$status $(last '"\(.message) \(.failed) \(.failure_rate == 100) \(.level)"')" \
    "1 Batch failed 100 true ERROR"
same "metrics of a failure" "$(metric batch_job_success) $(metric 'batch_job_records{result="failed"}')" "0 100"
run BATCH_RECORDS=100 FAILURE_RATE=1 FAILURE_LIMIT=1
same "all may fail" "$status $(last .message)" "0 Batch finished"
run BATCH_RECORDS=100 FAILURE_RATE=0
same "none fails" "$status $(last '"\(.success) \(.success_rate == 100)"')" "0 100 true"
same "progress" "$(jq -s '[.[] | select(.message == "Progress").processed] | @csv' -r "$log")" "25,50,75,100"

run METRICS_FILE="$dir/no/such/folder/x.prom"
same "metrics cannot be left" "$status $(last .message)" "1 Metrics not written"
run FAILURE_RATE=2 BATCH_RECORDS=-1 DELAY_MIN=1
same "wrong variables" "$status $(sort "$log.err" | cut -d: -f2 | xargs)" \
    "2 BATCH_RECORDS=-1 DELAY_MAX=0 FAILURE_RATE=2"

# Interrupted: it stops at once, says so and leaves the metrics of what was done.
BATCH_RECORDS=1000 DELAY_MIN=0.01 DELAY_MAX=0.01 FAILURE_RATE=0 METRICS_FILE=$dir/batch.prom \
    "$bin/batch-job" >"$log" 2>"$log.err" &
pid=$!
pids+=("$pid")
wait_for logged Progress
stop
same "interrupted" "$status $(last .message) $(metric batch_job_success)" "1 Batch interrupted 0"
same "done before" "$(last '.success >= 25 and .success < 1000')" true
finish
