#!/bin/bash
# Holds the sources against the rules of CONTRIBUTING.md that a machine can see: who may include whom,
# which library is seen where, what the pure layers may not call, and how long a file may be.
#
#   tests/check_layers.sh [ROOT]       prints each breach as file:line: what; 1 if there is one
#   tests/check_layers.sh --self-test  breaks each rule once and sees it found
set -euo pipefail
export LC_ALL=C

LINES_MAX=600

# Longer files, each with what keeps it from being split. Keep this list short.
long_files() {
    cat <<'TEXT'
tests/unit/test_channel.c one fixture of two channels; every test needs it
tests/unit/test_record.c one fixture of tables that talk; every test needs it
tests/unit/test_supervise.c one fixture; every test needs it
TEXT
}

# "FILE-PATTERN: PATTERN OF INCLUDES THAT IT MAY USE", the first line that fits counts. The order of
# the layers, from left to right: base, wire, member | record | lease, desired, core | config, shim,
# os_ and edge, store, uv_, logs, web, daemon. tools and workloads stand beside.
layers() {
    cat <<'TEXT'
proto/base/: proto/base/
proto/wire/: proto/(base|wire)/
proto/keys/: proto/(base|wire|keys)/
proto/member/: proto/(base|wire|member)/
proto/record/: proto/(base|wire|record)/
proto/lease/: proto/(base|wire|lease)/
agent/desired/: proto/(base|record)/|agent/desired/
agent/core/: proto/|agent/(desired|core)/
agent/config/: proto/base/|agent/(desired|config)/
agent/shim/: proto/base/|agent/shim/
store/: proto/base/|store/
agent/edge/: proto/base/|agent/edge/|agent/io/(arp_frame|echo_frame|os_)
agent/io/(uv_|post|instance_): proto/|store/|agent/(desired|core|shim|edge|io)/
agent/io/: proto/|agent/(desired|core|shim)/|agent/io/(os_|arp_frame|echo_frame)
agent/logs/: proto/base/|agent/(shim|logs)/
agent/web/: proto/base/|agent/(core|web)/
agent/daemon/|agent/main\.c: proto/|store/|agent/
workloads/: proto/base/|workloads/
tools/agentctl/: proto/(base|wire)/|agent/desired/|agent/io/os_|tools/agentctl/
tools/: proto/base/|agent/desired/
TEXT
}

# "HEADER: FILES THAT MAY SEE IT".
libraries() {
    cat <<'TEXT'
sodium\.h: proto/wire/
seccomp\.h: agent/seccomp/
msgpack\.h: proto/wire/codec
sqlite3\.h: store/
uv\.h: agent/[a-z]+/uv_|agent/daemon/|agent/main\.c
yaml\.h: agent/desired/
jansson\.h: agent/web/|agent/daemon/|agent/logs/|tools/|workloads/
microhttpd\.h: agent/web/uv_|workloads/lib/
libpq-fe\.h: workloads/(lib/pg|smartbiz-api/)
libmnl/.*: agent/io/os_
(rabbitmq-c/.*|amqp.*)\.h: workloads/lib/amqp/
curl/.*: workloads/notify-smtp/
linux/.*: agent/io/(os_|arp_frame|echo_frame)|agent/shim/
TEXT
}

# What decides has no clock, no randomness of its own, no files and no output.
PURE='^(proto/|agent/(desired|core|config)/)'
PURE_CALLS='time|clock|clock_gettime|gettimeofday|rand|srand|random|drand48|getrandom|getenv|open|openat|fopen|read|write|socket|send|recv|printf|fprintf|puts|perror|syslog|sleep|usleep|nanosleep|system|popen'
PURE_HEADERS='(time|unistd|fcntl|signal|pthread|syslog|poll|sys/(time|socket|stat|random|timerfd))\.h'
PURE_HEADERS_BUT='^(agent/core/|agent/desired/).*<signal\.h>' # names of signals are values there

sources() {
    { find proto agent store workloads tools -name '*.[ch]' 2>/dev/null || true; } | sort
}

# Lines "FILE:LINE:TEXT" of all includes.
includes() {
    sources | xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include' /dev/null || true
}

check_includes() {
    local file number text header rule allowed
    while IFS=: read -r file number text; do
        if [[ $text =~ \"([^\"]+)\" ]]; then
            header=${BASH_REMATCH[1]}
            allowed='^$'
            while IFS= read -r rule; do
                if [[ $file =~ ^(${rule%%: *}) ]]; then
                    allowed=${rule#*: }
                    break
                fi
            done <<<"$layer_rules"
            [[ $header =~ ^($allowed) ]] ||
                echo "$file:$number: must not include \"$header\": it does not stand below"
        elif [[ $text =~ \<([^\>]+)\> ]]; then
            header=${BASH_REMATCH[1]}
            while IFS= read -r rule; do
                if [[ $header =~ ^(${rule%%: *})$ && ! $file =~ ^(${rule#*: }) ]]; then
                    echo "$file:$number: must not include <$header>: only ${rule#*: } may"
                fi
            done <<<"$library_rules"
            if [[ $file =~ $PURE && $header =~ ^$PURE_HEADERS$ &&
                ! "$file <$header>" =~ $PURE_HEADERS_BUT ]]; then
                echo "$file:$number: a pure layer must not include <$header>"
            fi
        fi
    done < <(includes)
}

# Comments and strings may speak of what is not called.
check_calls() {
    local file
    sources | { grep -E "$PURE" || true; } | while IFS= read -r file; do
        sed -E 's/"([^"\\]|\\.)*"/""/g' "$file" |
            awk -v file="$file" -v calls="$PURE_CALLS" '
                { line = $0 }
                inside { if (!sub(/^.*\*\//, "", line)) next; inside = 0 }
                { gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line); sub(/\/\/.*/, "", line) }
                sub(/\/\*.*$/, "", line) { inside = 1 }
                match(line, "(^|[^A-Za-z0-9_.>])(" calls ")[ ]*[(]") {
                    printf "%s:%d: a pure layer must not call this: %s\n", file, FNR,
                           substr(line, RSTART, RLENGTH) "…"
                }'
    done
}

check_lengths() {
    local file count
    {
        find proto agent store workloads tools tests provisioning -name node_modules -prune -o \
            \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.js' -o -name '*.mjs' -o \
            -name '*.css' \) -print 2>/dev/null || true
    } | sort |
        while IFS= read -r file; do
            count=$(wc -l <"$file")
            if ((count > LINES_MAX)) && ! grep -q "^$file " <<<"$(long_files)"; then
                echo "$file:$count: longer than $LINES_MAX lines: split it"
            fi
        done
    long_files | while read -r file _; do
        if [[ -e $file ]] && (($(wc -l <"$file") <= LINES_MAX)); then
            echo "$file:1: is no longer than $LINES_MAX lines: take it off the list of exceptions"
        fi
    done
}

check_tree() {
    local layer_rules library_rules breaches
    layer_rules=$(layers)
    library_rules=$(libraries)
    cd "$1"
    breaches=$(check_includes && check_calls && check_lengths)
    if [[ -n $breaches ]]; then
        echo "$breaches"
        return 1
    fi
}

# breaks FILE LINE...: a tree with this one file must be refused.
breaks() {
    local tree status=0
    tree=$(mktemp -d)
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "${@:2}" >"$tree/$1"
    (check_tree "$tree") >"$tree/out" 2>&1 || status=$?
    if ((status == 0)) || ! grep -q "^$1:" "$tree/out"; then
        echo "self-test: not found in $1: ${*:2:1}"
        failed=1
    fi
    rm -rf "$tree"
}

# holds FILE LINE...: a tree with this one file is good.
holds() {
    local tree
    tree=$(mktemp -d)
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "${@:2}" >"$tree/$1"
    (check_tree "$tree") || {
        echo "self-test: wrongly found in $1: ${*:2:1}"
        failed=1
    }
    rm -rf "$tree"
}

self_test() {
    local failed=0 long
    breaks proto/base/x.c '#include "proto/wire/keys.h"'
    breaks proto/lease/x.c '#include "proto/member/member.h"'
    breaks agent/core/x.c '#include "agent/io/os_clock.h"'
    breaks agent/io/os_x.c '#include "agent/io/uv_link.h"'
    breaks agent/io/uv_x.c '#include "agent/daemon/agent.h"'
    breaks agent/web/x.c '#include "store/store.h"'
    breaks workloads/x.c '#include "agent/core/node.h"'
    breaks proto/new/x.c '#include "proto/base/err.h"'
    breaks agent/core/x.c '#include <sodium.h>'
    breaks proto/member/x.c '#include <msgpack.h>'
    breaks agent/daemon/x.c '#include <sqlite3.h>'
    breaks agent/io/os_x.c '#include <uv.h>'
    breaks agent/core/x.c '#include <time.h>'
    breaks agent/desired/x.c '    x = time(NULL);'
    breaks proto/member/x.c '/* a */ y = rand() /* b */;'
    breaks agent/core/x.c '/* one' ' two */ printf("x");'
    mapfile -t long < <(seq $((LINES_MAX + 1)))
    breaks agent/io/os_x.c "${long[@]}"
    holds agent/core/x.c '/* time(NULL) is not called, nor' ' * rand() */' 'x = "open(";' 'node->write(1);' \
        'snprintf(a);' '#include "proto/base/err.h"' '#include <string.h>'
    ((failed == 0)) && echo "the rules are seen when they are broken"
}

if [[ ${1:-} == --self-test ]]; then
    self_test
else
    check_tree "${1:-$(dirname "${BASH_SOURCE[0]}")/..}" && echo "the layers hold"
fi
