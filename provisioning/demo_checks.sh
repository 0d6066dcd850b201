# shellcheck shell=bash disable=SC2154,SC2317 # demo.sh sets the rest; functions are passed by name
# What `demo.sh --check` asserts. Each check is a function that returns 0, or 1 with the reason in
# $why; `check` runs it and prints the line. What later checks stand on ends the run when it fails.

CHECK_SECONDS=180
FAILOVER_MS=4000
API=/ready

checks=0
failures=0

# check TEXT FUNCTION...: runs it and prints a line.
check() {
    local text=$1 began elapsed
    shift
    why=
    checks=$((checks + 1))
    began=$(now_ms)
    if "$@"; then
        elapsed=$(($(now_ms) - began))
        echo "${green}ok${plain}      $text${note:+ ($note)}  ${elapsed} ms"
    else
        failures=$((failures + 1))
        echo "${red}FAILED  $text: ${why:-no reason given}${plain}"
    fi
    note=
}

# must TEXT FUNCTION...: the rest makes no sense without it.
must() {
    local before=$failures
    check "$@"
    ((failures == before)) || die 1 "stopped here: what follows needs it"
}

fail_with() {
    why=$*
    return 1
}

# ---- what agents say ----

other() {
    if [[ $1 == pi1 ]]; then
        echo pi2
    else
        echo pi1
    fi
}

owner() {
    value "$1" '.items[0].owner // empty' vip
}

# instances PI EXPRESSION: of every instance that lives, as seen by PI.
instances() {
    value "$1" ".items[].instances[] | select(.nodeAlive) | $2" apps
}

# What must not change when nothing may: each instance that runs on a node, with its process.
processes() {
    instances "$1" "select(.pid > 0 and (.name | startswith(\"batch-job\") | not)) |
        \"\\(.name) \\(.node) \\(.pid)\"" | sort
}

health() {
    value "$1" '.health == "ok"' status
}

dropped() {
    value "$1" '[.wire.dropped[]] | add' status
}

# ---- before the first push ----

check_before_join() {
    deadline=$(($(now_ms) + CHECK_SECONDS * 1000))
    check "a token that has expired lets nobody in" check_token
}

check_before_push() {
    check "both members are alive, seen by both" all_pis check_members
    check "garbage on the gossip port is counted and dropped" check_garbage
}

check_members() {
    local names
    names=$(value "$1" '[.items[] | select(.state == "alive").name] | sort | join(" ")' members)
    [[ $names == "pi1 pi2" ]] || fail_with "$1 sees as alive: $names"
}

check_token() {
    local token answer status=0
    token=$(ctl pi1 token create --ttl 1s) || fail_with "no token was made" || return
    sleep 2 # it lives by the clock
    answer=$(ctl pi2 --timeout 5 join "$token" 2>&1) || status=$?
    ((status != 0)) || fail_with "pi2 joined: $answer" || return
    note=${answer#agentctl: }
}

send_datagram() {
    at client bash -c 'exec 3>/dev/udp/10.77.0.11/8801 && cat >&3' 2>/dev/null
}

check_garbage() {
    local before after
    before=$(dropped pi1) || fail_with "status has no wire.dropped" || return
    printf 'no envelope at all' | send_datagram
    head -c 200 /dev/zero | send_datagram
    head -c 1400 /dev/urandom | send_datagram
    head -c 900 /dev/urandom | send_datagram
    dropped_four() { ((before + 4 <= $(dropped pi1))); }
    await 5 "pi1 to count them" dropped_four || {
        after=$(dropped pi1)
        fail_with "sent 4 datagrams, the counters went from $before to $after"
        return
    }
    note=$(value pi1 '[.wire.dropped | to_entries[] | select(.value > 0) |
        "\(.key) \(.value)"] | join(", ")' status)
}

# ---- the commit and what it brings ----

check_all() {
    check "the commit is applied on both" all_pis check_commit
    check "nobody on the network can read it" check_secret
    check "two replicas of rest-api on two Pis, metrics-app on one" check_placement
    check "ports are given, probes make ready, HTTP answers" check_ports
    must "a virtual address has one owner and answers" check_vip
    check "the status page" check_page
    check "every listing of agentctl is JSON with kind and apiVersion" check_json
    check "agentctl tells an agent that is not there" check_unreachable
    check "a push that does not validate is refused with file and line, and changes nothing" \
        check_refused
    check "a workload that dies is started again" check_restart
    must "kill -9 of agentd: the workloads go on, and it finds them again" check_agent_killed
    must "kill -9 of the owner's agentd: its address falls silent before the other Pi answers" \
        check_agent_fenced
    must "power cut of the owner: clients are answered within $FAILOVER_MS ms" check_power_cut
    check "the workloads of the dead Pi run on the other" check_moved
    must "the dead Pi comes back and all is healthy" check_back
    check "a workload that is removed from Git stops" check_removed
    check "batch-job ran by its schedule" check_cron
    echo
    if ((failures > 0)); then
        echo "${red}$failures of $checks checks FAILED${plain}"
        return 1
    fi
    echo "${green}all $checks checks are ok${plain}, after $(((CHECK_SECONDS * 1000 - deadline + $(now_ms)) / 1000)) s"
}

check_commit() {
    local applied
    applied=$(value "$1" '[.items[].commit | "\(.commit) \(.state)"] | unique | join(", ")' members)
    [[ $applied == "$commit applied" ]] || fail_with "$1 says: $applied, the push was $commit"
}

# The capture holds the join, the gossip and the bundle that took the commit from pi1 to pi2. Words
# that stand in it when it is readable: names in gossip, the bundle's first line, a pack's head.
check_secret() {
    local datagrams segments word
    datagrams=$(tcpdump -r "$dir/gossip.pcap" -n udp 2>/dev/null | wc -l)
    segments=$(tcpdump -r "$dir/gossip.pcap" -n "tcp and greater 200" 2>/dev/null | wc -l)
    ((datagrams >= 5 && segments >= 2)) || # gossip, and a question and a bundle
        fail_with "the capture misses something: $datagrams datagrams, $segments segments" || return
    for word in rest-api metrics-app "git bundle" "first state" covey.dev msgpack 10.77.0.210; do
        ! grep -aqF "$word" "$dir/gossip.pcap" || fail_with "\"$word\" stands in a packet" || return
    done
    note="$datagrams datagrams, $segments segments of TCP"
}

check_placement() {
    local nodes count
    nodes=$(instances pi1 'select(.name | startswith("rest-api")) | .node' | sort | xargs)
    [[ $nodes == "pi1 pi2" ]] || fail_with "rest-api runs on: $nodes" || return
    count=$(instances pi2 'select(.name | startswith("metrics-app")) | .node' | wc -l)
    ((count == 1)) || fail_with "$count instances of metrics-app" || return
}

# answers ADDRESS:PORT: a client is told that the workload is ready.
answers() {
    [[ $(at client curl -s -o /dev/null -w '%{http_code}' --max-time 2 "http://$1$API") == 200 ]]
}

check_ports() {
    local name node state port
    while read -r name node state port; do
        [[ $state == ready ]] || fail_with "$name on $node is $state" || return
        answers "$(lab_address "$node"):$port" ||
            fail_with "$name does not answer on $(lab_address "$node"):$port" || return
        note+="${note:+, }$name $node:$port"
    done < <(instances pi1 'select(.ports.http) | "\(.name) \(.node) \(.state) \(.ports.http)"')
    [[ $note == *rest-api*rest-api* && $note == *metrics-app* ]] || fail_with "only: $note"
}

vip_is_owned() {
    [[ -n $(owner pi1) && $(owner pi1) == "$(owner pi2)" ]]
}

# On which Pis the address is set.
vip_is_on() {
    local pi
    for pi in "${LAB_PIS[@]}"; do
        [[ $(at "$pi" ip -o address show dev wlan0) == *" $vip/"* ]] && echo "$pi"
    done | xargs
}

vip_is_on_owner() {
    [[ $(vip_is_on) == "$(owner pi1)" ]]
}

check_vip() {
    local here
    await 10 "an owner of the address" vip_is_owned ||
        fail_with "pi1 says $(owner pi1), pi2 says $(owner pi2)" || return
    vip=$(value pi1 '.items[0].address' vip)
    await 3 "$vip on its owner" vip_is_on_owner ||
        fail_with "$vip is owned by $(owner pi1), and set on: $(vip_is_on)" || return
    here=$(vip_is_on)
    at client ping -c 3 -i 0.2 -W 1 "$vip" >/dev/null || fail_with "no ping from $vip" || return
    answers "$vip:5000" || fail_with "no answer from http://$vip:5000$API" || return
    note="$vip on $here"
}

# ---- what people read ----

page() {
    curl -s --max-time 5 "http://127.0.0.1:$port/" "$@"
}

check_page() {
    local html word code
    html=$(page -f) || fail_with "http://127.0.0.1:$port/ does not answer 200" || return
    for word in pi1 pi2 rest-api metrics-app "$vip" "${commit:0:7}" "the first state"; do
        grep -qF "$word" <<<"$html" || fail_with "\"$word\" does not stand on it" || return
    done
    # What a person may click leads elsewhere; what a browser loads by itself must not.
    ! grep -Eq '(<(link|use)[^>]*href=|src=|url\(|@import )["'\'']?(https?:)?//' <<<"$html" ||
        fail_with "it loads something from elsewhere" || return
    code=$(page -o /dev/null -w '%{http_code}' -H "Host: evil.example")
    [[ $code == 421 ]] || fail_with "a foreign Host header got $code" || return
    code=$(page -o /dev/null -w '%{http_code}' -X POST)
    [[ $code == 405 ]] || fail_with "a POST got $code" || return
    curl -sN -o "$dir/stream" --max-time 1 "http://127.0.0.1:$port/v1/stream" || true # it never ends
    grep -q '^data: {' "$dir/stream" || fail_with "the stream of events says nothing"
}

check_json() {
    local command kind
    for command in status members apps vip events; do
        kind=$(value pi2 'select(.apiVersion == "covey.dev/v1").kind' "$command") ||
            fail_with "agentctl -o json $command" || return
        note+="${note:+, }$kind"
    done
}

check_unreachable() {
    local status=0 text
    text=$("$bin/agentctl" --socket "$dir/nobody.sock" status 2>&1) || status=$?
    ((status == 4)) || fail_with "exit status $status: $text"
}

# ---- changes and faults ----

check_refused() {
    local before after text line
    before=$(git -C "$dir/pi1/state/flock.git" rev-parse main && processes pi1)
    sed -i 's/replicas: 2/replicas: many/' "$dir/desired/apps/web/rest-api.yaml"
    line=$(grep -n "replicas: many" "$dir/desired/apps/web/rest-api.yaml" | cut -d: -f1)
    git_here commit -qam "a mistake"
    if text=$(git_push 2>&1); then
        fail_with "the push was accepted"
        return
    fi
    git_here reset -q --hard HEAD~1
    [[ $text == *"apps/web/rest-api.yaml:$line"* ]] || fail_with "Git says: $text" || return
    after=$(git -C "$dir/pi1/state/flock.git" rev-parse main && processes pi1)
    [[ $before == "$after" ]] || fail_with "it was: $before; it is: $after" || return
    all_pis check_commit || return
    note=$(grep -oE "apps/web/rest-api.yaml:[0-9]+.*[^ ]" <<<"$text" | head -1)
}

check_restart() {
    local instance node pid
    read -r instance node pid < <(processes pi1 | grep rest-api)
    kill -KILL "$pid" || fail_with "$instance has no process $pid" || return
    is_restarted() {
        instances pi1 "select(.name == \"$instance\" and .pid != $pid and .state == \"ready\").name"
    }
    await 15 "$instance to be ready again" is_restarted ||
        fail_with "$instance: $(instances pi1 "select(.name == \"$instance\") | \"\\(.state) \\(.pid) \\(.reason)\"")" ||
        return
    note="$instance on $node"
}

healthy_everywhere() {
    all_pis ctl_quiet members=2 healthy
}

# Of the Pi that does not own the address, started again at once.
check_agent_killed() {
    local pi before after
    pi=$(other "$(owner pi1)")
    before=$(processes "$pi")
    kill_agent "$pi"
    start_agent "$pi"
    await_agent "$pi" || fail_with "agentd of $pi does not start again" || return
    await 20 "all to be healthy" healthy_everywhere ||
        fail_with "$(value "$pi" .headline status)" || return
    after=$(processes "$pi")
    [[ $before == "$after" ]] || fail_with "it was: $before; it is: $after" || return
    note="$pi"
}

# The client asks for the address all the time and forgets the answer: each one tells who gives it.
watch_address() {
    helper lab_in "$prefix" client tcpdump -i wlan0 -n -e -tt -l --immediate-mode "arp or icmp[icmptype] == icmp-echoreply" \
        >"$dir/watch" 2>"$dir/watch.err"
    watchers=("${helpers[-1]}")
    await 5 "the capture" grep -q listening "$dir/watch.err" || return
    helper lab_in "$prefix" client ping -i 0.05 -W 1 "$vip" >/dev/null 2>&1
    watchers+=("${helpers[-1]}")
    [[ $1 == forgetful ]] || return 0
    helper forget_address
    watchers+=("${helpers[-1]}")
}

forget_address() {
    while sleep 0.05; do
        ip -n "$prefix-client" neigh del "$vip" dev wlan0 || true
    done 2>/dev/null
}

# answered MAC first|last [SINCE]: when, in ms, this one first or last spoke for the address.
answered() {
    awk -v mac="$1" -v which="$2" -v since="${3:-0}" -v vip="$vip" '
        $2 == mac && (index($0, "Reply " vip " is-at") || index($0, " tell " vip ",") ||
                      index($0, "Announcement " vip) || index($0, ": " vip " > ")) {
            t = $1 * 1000
            if (t < since) next
            if (which == "last" || !found) found = t
        }
        END { if (!found) exit 1; printf "%.0f\n", found }' "$dir/watch"
}

stop_watching() {
    local pid
    for pid in "${watchers[@]}"; do
        kill "$pid"
        wait "$pid"
    done 2>/dev/null
    watchers=()
}

check_agent_fenced() {
    local old new since last first before pid lost=
    old=$(owner pi1)
    new=$(other "$old")
    before=$(processes "$old" | awk -v node="$old" '$2 == node { print $3 }')
    watch_address forgetful || fail_with "the capture does not start" || return
    since_answered() { answered "$(lab_mac "$1")" first; }
    await 5 "answers from $old" since_answered "$old" ||
        fail_with "no answer from $old before the kill" || return
    kill_agent "$old"
    since=$(now_ms)
    await 10 "answers from $new" since_answered "$new" ||
        fail_with "$new does not answer" || return
    sleep 1 # for what must not come: an answer of the old owner
    for pid in $before; do kill -0 "$pid" 2>/dev/null || lost+=" $pid"; done
    stop_watching
    last=$(answered "$(lab_mac "$old")" last)
    first=$(answered "$(lab_mac "$new")" first)
    start_agent "$old"
    await_agent "$old" || fail_with "agentd of $old does not start again" || return
    ((last < first)) ||
        fail_with "$old still answered $((last - first)) ms after $new had begun" || return
    [[ -z $lost ]] || fail_with "workloads of $old died with its agent:$lost" || return
    await 30 "all to be healthy" healthy_everywhere ||
        fail_with "afterwards: $(value "$old" .headline status)" || return
    note="$old silent after $((last - since)) ms, $new answers after $((first - since)) ms"
}

check_power_cut() {
    local since first http
    dead=$(owner pi1)
    alive=$(other "$dead")
    dead_had=$(instances "$alive" "select(.node == \"$dead\").name" | grep -v batch-job | sort -u | xargs)
    watch_address mindful || fail_with "the capture does not start" || return
    since=$(now_ms)
    cut_power "$dead"
    since_answered() { answered "$(lab_mac "$alive")" first "$since"; }
    await 10 "answers from $alive" since_answered || fail_with "$alive does not answer" || return
    await 5 "HTTP from $vip" answers "$vip:5000" ||
        fail_with "$alive has the address, but http://$vip:5000$API does not answer" || return
    http=$(($(now_ms) - since))
    stop_watching
    first=$(answered "$(lab_mac "$alive")" first "$since")
    note="$dead cut, $alive answers after $((first - since)) ms, by HTTP after at most $http ms"
    ((first - since <= FAILOVER_MS && http <= FAILOVER_MS)) || fail_with "$note"
}

check_moved() {
    local name
    is_ready_here() {
        instances "$alive" "select(.name == \"$1\" and .node == \"$alive\" and .state == \"ready\").name"
    }
    for name in $dead_had; do
        await 25 "$name on $alive" is_ready_here "$name" ||
            fail_with "$name: $(instances "$alive" "select(.name == \"$name\") | \"\\(.state) \\(.reason)\"" | head -1)" ||
            return
    done
    note="$dead_had"
}

# The longest time, in ms, without an answer from the address.
longest_silence() {
    awk -v vip="$vip" '
        index($0, ": " vip " > ") {
            if (last && $1 - last > longest) longest = $1 - last
            last = $1
        }
        END { printf "%.0f\n", longest * 1000 }' "$dir/watch"
}

check_back() {
    local silence
    watch_address mindful || fail_with "the capture does not start" || return
    start_pi "$dead"
    await_agent "$dead" || fail_with "agentd of $dead does not start" || return
    await 40 "all to be healthy" healthy_everywhere ||
        fail_with "$(value "$dead" .headline status); $(value "$alive" .headline status)" || return
    sleep 1 # for what its first votes may break
    stop_watching
    check_vip || return
    silence=$(longest_silence)
    note+=", never silent for more than $silence ms meanwhile"
    ((silence <= FAILOVER_MS)) || fail_with "$note"
}

check_removed() {
    local pid node
    read -r _ node pid < <(processes pi1 | grep metrics-app)
    git_here rm -q apps/web/metrics-app.yaml
    git_here commit -qm "no metrics-app any more"
    git_push || fail_with "the push was refused" || return
    commit=$(git_here rev-parse HEAD)
    await 20 "both Pis to apply it" all_pis ctl_quiet healthy "commit=$commit" ||
        fail_with "$(value pi1 .headline status)" || return
    is_gone() { ! kill -0 "$pid" 2>/dev/null && ! processes pi1 | grep metrics-app; }
    await 15 "metrics-app to stop" is_gone || fail_with "process $pid on $node lives" || return
    [[ $(processes pi1) == *rest-api* ]] || fail_with "rest-api stopped as well"
}

check_cron() {
    has_run() { [[ $(ctl pi1 logs batch-job) == *"Batch finished"* ]]; }
    await 75 "the next full minute" has_run ||
        fail_with "no run in its log: $(ctl pi1 logs batch-job 2>&1 | tail -1)" || return
    note=$(value pi1 '.items[] | select(.name == "batch-job") | "next run \(.nextRun)"' apps)
}
