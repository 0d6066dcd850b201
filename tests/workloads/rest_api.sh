#!/bin/bash
# rest-api: what it answers, counts and logs.
# shellcheck source=tests/workloads/lib.sh
source "$(dirname "$0")/lib.sh"

start rest-api PROCESS_MIN=0 PROCESS_MAX=0 PROCESS_FAILURE_RATE=0

request "$url/health"
same "health" "$code $(json '.status + " " + .service')" "200 healthy rest-api"
same "health's type" "$(header content-type)" "application/json"
date -d "$(json .timestamp)" >/dev/null || fail "health has no date: $body"
request "$url/ready"
same "ready" "$code $(json .status)" "200 ready"

# Users: read, page, add, replace, change, remove.
request "$url/api/users"
same "users" "$code $(json '[.count, .total, .next, .users[0].name, .users[4].email] | @csv')" \
    '200 5,5,,"Alice","eve@example.com"'
request "$url/api/users?limit=2"
same "first page" "$(json '[.users[].id, .next] | @csv')" "1,2,2"
request "$url/api/users?limit=2&after=4"
same "last page" "$(json '[.users[].id, .next] | @csv')" "5,"
request "$url/api/users?limit=%32"
same "escaped parameter" "$code $(json .count)" "200 2"
request -H 'Content-Type: application/json; charset=utf-8' \
    -d '{"name":"Zoë","email":"zoe@example.com"}' "$url/api/users"
same "created" "$code $(header location) $(json '"\(.id) \(.name)"')" "201 /api/users/6 6 Zoë"
request "$url$(header location)"
same "found again" "$code $(json .email)" "200 zoe@example.com"
request -X PUT -H 'Content-Type: application/json' -d '{"name":"Z","email":"z@example.com"}' \
    "$url/api/users/6"
same "replaced" "$code $(json '.name + " " + .email')" "200 Z z@example.com"
request -X PATCH -H 'Content-Type: application/json' -d '{"name":"Zed"}' "$url/api/users/6"
same "changed" "$code $(json '.name + " " + .email')" "200 Zed z@example.com"
request -H 'Content-Type: application/json' -d '{"name":"Bob2","email":"BOB@example.com"}' \
    "$url/api/users"
same "address taken" "$code $(json .field)" "409 email"
request -X DELETE "$url/api/users/6"
same "removed" "$code $body" "204 "
request "$url/api/users/6"
same "gone" "$code $(json .title)" "404 Not Found"

# Simulated work.
request "$url/api/process"
same "process" "$code $(json '.status, (.items >= 1 and .items <= 100)' | xargs)" "200 success true"
request -X POST -H 'Content-Type: application/json' -d '{"items":7}' "$url/api/process"
same "process 7" "$code $(json .items)" "200 7"

# HEAD has a GET's headers and no body; a wrong method is told which are right.
request -I "$url/health"
same "HEAD" "$code $([[ $(header content-length) -gt 0 ]] && echo long)" "200 long"
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
same "HEAD's body" "$(timeout 20 cat <&3 | tr -d '\r' | sed '1,/^$/d')" ""
exec 3>&-
request -X DELETE "$url/api/users"
same "405" "$code $(header allow)" "405 GET, HEAD, POST"

# Request ids: the client's when it is well-formed, else a new one; also in the log.
request -H 'X-Request-Id: from-client_1.0' "$url/health"
same "own id" "$(header x-request-id)" "from-client_1.0"
wait_for logged request '.request_id == "from-client_1.0"'
request -H 'X-Request-Id: bad"id' "$url/health"
[[ $(header x-request-id) =~ ^[0-9a-f]{16}$ ]] || fail "bad id became '$(header x-request-id)'"

# Many requests on one connection.
request "$url/health" --next -s -o "$dir/second" -w '%{num_connects}' "$url/ready"
same "connection kept" "$code" "2000"

# The document describes the paths and methods that exist.
request "$url/openapi.json"
same "openapi" "$code $(json .openapi)" "200 3.1.0"
openapi=$body
while read -r path methods; do
    request -X OPTIONS "$url${path//\{id\}/1}"
    allowed=$(header allow | tr -d ' ' | tr ',' '\n' | grep -v HEAD | sort | xargs)
    same "methods of $path" "$allowed" "$methods"
done < <(jq -r '.paths | to_entries[] |
    "\(.key) \([.value | keys[] | select(. != "parameters") | ascii_upcase] | sort | join(" "))"' \
    <<<"$openapi")
same "references resolve" "$(jq -r '. as $doc | [.. | objects | .["$ref"]? // empty] | unique[] |
    select(. as $ref | ($doc | getpath($ref[2:] / "/")) == null)' <<<"$openapi")" ""

# Metrics: each request above is counted under its route.
request "$url/metrics"
same "metrics' type" "$(header content-type)" "text/plain; version=0.0.4; charset=utf-8"
same "counted" "$(grep -F 'http_requests_total{method="POST",endpoint="/api/users",status="201"}' <<<"$body" | cut -d' ' -f2)" 1
same "gone counted" "$(grep -F 'http_requests_total{method="GET",endpoint="/api/users/{id}",status="404"}' <<<"$body" | cut -d' ' -f2)" 1
grep -q '^process_resident_memory_bytes [1-9]' <<<"$body" || fail "no memory in the metrics"
same "in flight" "$(sed -n 's/^http_requests_in_flight //p' <<<"$body")" 1

stop
same "exit code" "$status" 0
# Every line is JSON; every request has its line.
same "log" "$(jq -es 'all(.[]; has("timestamp") and has("level") and .service == "rest-api")' "$log")" true
same "request's line" "$(jq -r 'select(.request_id == "from-client_1.0") |
    [.level, .method, .path, .status, .remote_addr, (.duration_ms | type)] | @csv' "$log")" \
    '"INFO","GET","/health",200,"127.0.0.1","number"'
same "last line" "$(tail -1 "$log" | jq -r '"\(.message) \(.requests_cut)"')" "stopped 0"

# A failure that is simulated is a 500 and logged as an error.
start rest-api PROCESS_MIN=0 PROCESS_MAX=0 PROCESS_FAILURE_RATE=1
request "$url/api/process"
same "failed" "$code $(json '.status + ": " + .error')" "500 error: processing failed"
wait_for logged request '.status == 500 and .level == "ERROR"'

# Many at once, each taking its time: the threads do not wait for them.
start rest-api PROCESS_MIN=0.2 PROCESS_MAX=0.2 PROCESS_FAILURE_RATE=0 HTTP_THREADS=1
seq 40 | xargs -P 40 -I{} curl -s --max-time 20 -o /dev/null -w '%{http_code}\n' "$url/api/process" \
    >"$dir/codes"
same "40 at once" "$(sort "$dir/codes" | uniq -c | xargs)" "40 200"
finish
