#!/bin/bash
# Whatever a client sends: a problem document says what is wrong, and the service goes on.
# shellcheck source=tests/workloads/lib.sh
source "$(dirname "$0")/lib.sh"

start rest-api

# problem WHAT STATUS FIELD [CURL-ARGUMENT...]
problem() {
    local what=$1 expected=$2 field=$3
    shift 3
    request "$@"
    same "$what" "$code $(header content-type)" "$expected application/problem+json"
    same "$what, document" "$(json '[.status, .type, (.field // ""), (.detail | length > 0),
        (.title | length > 0), .request_id] | @csv')" \
        "$expected,\"about:blank\",\"$field\",true,true,\"$(header x-request-id)\""
}

# post WHAT STATUS FIELD BODY
post() {
    printf '%b' "$4" >"$dir/upload"
    problem "$1" "$2" "$3" -H 'Content-Type: application/json' --data-binary "@$dir/upload" \
        "$url/api/users"
}

post "empty body" 400 "" ''
post "malformed" 400 "" '{"name":'
post "not an object" 400 "" '[1,2]'
post "two documents" 400 "" '{"name":"a","email":"a@b"}{}'
post "duplicate key" 400 "" '{"name":"a","name":"b","email":"a@b"}'
post "invalid UTF-8" 400 "" '{"name":"\xff","email":"a@b"}'
post "zero character" 400 "" '{"name":"a\\u0000b","email":"a@b"}'
post "lone surrogate" 400 "" '{"name":"\\ud800","email":"a@b"}'
post "overflowing number" 400 "" '{"name":"a","email":"a@b","id":1e999}'
post "deeply nested" 400 "" "$(printf '[%.0s' {1..1000})"
post "missing field" 422 email '{"name":"a"}'
post "unknown field" 422 admin '{"name":"a","email":"a@b","admin":true}'
post "wrong type" 422 name '{"name":7,"email":"a@b"}'
post "null" 422 email '{"name":"a","email":null}'
post "too short" 422 name '{"name":"","email":"a@b"}'
post "too long" 422 name "{\"name\":\"$(printf 'x%.0s' {1..101})\",\"email\":\"a@b\"}"
post "control character" 422 name '{"name":"a\\nb","email":"a@b"}'
post "no address" 422 email '{"name":"a","email":"nobody"}'
problem "wrong type of body" 415 Content-Type -d 'name=a' "$url/api/users"
problem "negative items" 422 items -H 'Content-Type: application/json' -d '{"items":-1}' \
    "$url/api/process"
problem "overflowing items" 400 "" -H 'Content-Type: application/json' \
    -d '{"items":9223372036854775808}' "$url/api/process"
problem "fractional items" 422 items -H 'Content-Type: application/json' -d '{"items":1.5}' \
    "$url/api/process"

# Sizes: beyond the route's limit, announced beyond all reason, and without an announcement.
head -c 5000 /dev/zero >"$dir/5k"
head -c 3000000 /dev/zero >"$dir/3M"
problem "oversized" 413 "" -H 'Content-Type: application/json' --data-binary "@$dir/5k" "$url/api/users"
problem "oversized, chunked" 413 "" -H 'Content-Type: application/json' \
    -H 'Transfer-Encoding: chunked' --data-binary "@$dir/5k" "$url/api/users"
problem "huge" 413 "" -H 'Content-Type: application/json' -H 'Expect:' --data-binary "@$dir/3M" \
    "$url/api/users"
request -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary "@$dir/3M" "$url/api/users"
same "endless" "$code" 000
problem "body of a GET" 404 "" -X GET --data-binary "@$dir/5k" "$url/nowhere"
problem "long headers" 431 "" -H "X-Long: $(printf 'x%.0s' {1..8200})" "$url/health"
request -H "X-Long: $(printf 'x%.0s' {1..60000})" "$url/health"
same "headers beyond the memory" "$code" 431
problem "long path" 414 "" "$url/$(printf 'x%.0s' {1..1100})"
problem "long query" 400 limit "$url/api/users?limit=$(printf '1%.0s' {1..200})"

# Paths and queries.
problem "traversal" 400 "" "$url/../../etc/passwd"
problem "escaped traversal" 400 "" "$url/%2e%2e/%2e%2e/etc/passwd"
problem "escaped slash" 404 "" "$url/api%2fusers"
problem "zero byte" 400 "" "$url/api/users/1%00"
problem "invalid escape" 400 "" "$url/api/users/%zz"
problem "path not UTF-8" 400 "" "$url/api/users/%ff%fe"
problem "unknown path" 404 "" "$url/nowhere"
problem "id is a word" 400 id "$url/api/users/one"
problem "id is negative" 400 id "$url/api/users/-1"
problem "id overflows" 400 id "$url/api/users/9223372036854775808"
problem "id is SQL" 400 id "$url/api/users/1%27%20OR%201=1--"
problem "unknown id" 404 "" "$url/api/users/999"
problem "limit too great" 400 limit "$url/api/users?limit=101"
problem "limit zero" 400 limit "$url/api/users?limit=0"
problem "limit is empty" 400 limit "$url/api/users?limit="
problem "limit twice" 400 limit "$url/api/users?limit=1&limit=2"
problem "unknown parameter" 400 sort "$url/api/users?sort=name"
problem "parameter not UTF-8" 400 "" "$url/api/users?%ff=1"
problem "unknown method" 405 "" -X BREW "$url/api/users"

# raw BYTES: what the server answers to them, until it closes.
raw() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf '%b' "$1" >&3
    timeout 20 cat <&3 | head -1 | tr -d '\r'
    exec 3>&-
}
# libmicrohttpd answers with a 400 or closes without a word, as its version has it.
[[ $(raw 'hello\r\n\r\n') =~ ^(HTTP/1.1\ 400.*)?$ ]] || fail "bytes that are no HTTP were answered"
same "no Host" "$(raw 'GET /health HTTP/1.1\r\n\r\n' | cut -d' ' -f2)" 400
same "HTTP/1.0" "$(raw 'GET /health HTTP/1.0\r\n\r\n' | cut -d' ' -f2)" 200
same "bad length" "$(raw 'POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n' | cut -d' ' -f2)" 400

# A body that ends too early: nothing is stored, the line says that it was cut off.
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'POST /api/users HTTP/1.1\r\nHost: x\r\nX-Request-Id: cut\r\nContent-Length: 100\r\n\r\n{"name"' >&3
exec 3>&-
wait_for logged request '.request_id == "cut" and .aborted == true'

request "$url/api/users"
same "nothing was stored" "$code $(json .total)" "200 5"
same "no 500" "$(jq -c 'select((.status // 0) >= 500)' "$log")" ""
stop
same "exit code" "$status" 0

# Slow clients: those that say nothing, those that drip headers, those that drip a body, and those
# that do not read. All are disconnected, and the connections that they held serve others.
start rest-api HTTP_TIMEOUT=1 HTTP_CONNECTIONS=4 HTTP_THREADS=1
drip() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf '%b' "$1" >&3
    # The pause is the client's slowness. The write fails when the server has closed.
    while printf 'x' >&3; do sleep 0.1; done 2>/dev/null
}
drip 'GET /health HTTP/1.1\r\nX-Slow: ' &
drippers=$!
drip 'POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n' &
drippers="$drippers $!"
exec 4<>"/dev/tcp/127.0.0.1/$port"
exec 5<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n' >&5
request "$url/health"
same "after the slow ones" "$code" 200
for dripper in $drippers; do
    wait_for gone "$dripper"
done
timeout 20 cat <&4 >"$dir/silent" || fail "the silent client was not disconnected"
timeout 20 cat <&5 >"$dir/idle" || fail "the idle client was not disconnected"
same "silent client" "$(wc -c <"$dir/silent")" 0
same "idle client" "$(head -1 "$dir/idle" | tr -d '\r')" "HTTP/1.1 200 OK"
exec 4>&- 5>&-
request "$url/health"
same "still there" "$code" 200
finish
