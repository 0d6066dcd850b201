#!/bin/bash
# Two Pis on one machine: builds Covey, starts a flock of two in network namespaces, pushes the
# example of a desired state to it and says what to try. Ctrl-C ends it and removes all it made.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$here/lab.sh"
# shellcheck source-path=SCRIPTDIR source=demo_lib.sh
. "$here/demo_lib.sh"

# shellcheck source-path=SCRIPTDIR source=demo_checks.sh
. "$here/demo_checks.sh"

PROGRAMS=(agentd agentctl agent-shim agent-seccomp listen-exec metrics-app rest-api batch-job log-generator)

usage() {
    cat <<'TEXT'
usage: provisioning/demo.sh [--check] [options]

  (nothing)         builds, starts two Pis, pushes the example, waits for Ctrl-C
  --check           the same without a person: asserts what a flock must do, exit status 0 or 1

While it runs, from another terminal:
  ctl PI COMMAND... agentctl on pi1 or pi2:             demo.sh ctl pi2 status
  push [DIR]        pushes DIR as the desired state; without DIR what was edited in the demo's copy
  kill PI           a power cut: kills all its processes and its link
  start PI          switches it on again
  kill-agent PI     kill -9 of agentd alone: its workloads go on
  start-agent PI    starts agentd again
  shell HOST        a shell in the network of pi1, pi2, client or ap
  down              ends a demo whose terminal is gone, and removes what it left

options:
  --name NAME       several can run side by side under different names (demo; check with --check)
  --port PORT       status page of pi1 on 127.0.0.1 (8800; a free one with --check); pi2's is two
                    above it
  --build DIR       take the programs of this build folder as they are, build and install nothing
  --keep            keep the logs and states of the Pis
TEXT
}

# ---- arguments ----

command=run
arguments=()
name=
port=
build=
keep=false
parse() {
    while (($# > 0)); do
        case $1 in
        -h | --help) usage && exit 0 ;;
        --check) command=check ;;
        --keep) keep=true ;;
        --name | --port | --build)
            (($# >= 2)) || die 2 "$1 wants a value"
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        ctl | push | kill | start | kill-agent | start-agent | shell | down)
            command=$1
            shift
            arguments=("$@")
            break
            ;;
        *)
            usage >&2
            die 2 "does not understand \"$1\""
            ;;
        esac
        shift
    done
    if [[ $command == check ]]; then
        name=${name:-check}
        port=${port:-$((18000 + $$ % 1000 * 10))} # nobody has to know it
    fi
    name=${name:-demo}
    port=${port:-8800}
    [[ $name =~ ^[a-z0-9][a-z0-9-]{0,19}$ ]] || die 2 "--name wants a-z, 0-9 and -, at most 20"
    [[ $port =~ ^[0-9]{1,5}$ ]] || die 2 "--port wants a number"
    prefix=covey-$name
    self=$here/demo.sh
    [[ $PWD != "$root" ]] || self=./provisioning/demo.sh
    again=$self
    [[ $name == demo ]] || again="$self --name $name"
    record=/run/covey-lab/$name
}

# ---- building ----

build_programs() {
    local options=()
    step "Packages that are needed"
    "$here/packages.sh" build demo || die 1 "packages are missing (see above)"
    step "Building in build/release (some minutes on a Pi)"
    # Whoever runs the tests has them built here too; a demo alone needs none.
    [[ -e $root/build/release/CMakeCache.txt ]] || options=(-DBUILD_TESTING=OFF)
    (cd "$root" && quietly cmake --preset release "${options[@]}" &&
        cmake --build --preset release --target "${PROGRAMS[@]}") ||
        die 1 "the build failed (see above)"
    build=$root/build/release
}

# Namespaces need root; the build does not, and its files should belong to who asked for it.
become_root() {
    ((EUID != 0)) || return 0
    command -v sudo >/dev/null ||
        die 1 "network namespaces need root: run this as root, or install sudo"
    step "The rest needs root: sudo may ask for your password"
    exec sudo -- "$self" "$@"
}

# ---- the record of a running demo, for the other terminal and for leftovers ----

# Only one of each name; the lock goes with this process, however it ends.
take_name() {
    mkdir -p "$(dirname "$record")"
    exec {lock}>"$record.lock"
    flock -n "$lock" ||
        die 1 "a demo of the name \"$name\" runs already: end it with Ctrl-C, or choose --name"
}

# What is started must not hold the lock when this process was killed.
close_lock() {
    [[ -z ${lock:-} ]] || exec {lock}>&-
}

write_record() {
    printf '%q=%q\n' dir "$dir" bin "$bin" port "$port" >"$record"
}

read_record() {
    [[ -r $record ]] || die 4 "no demo of the name \"$name\" runs here: start $self first"
    # shellcheck source=/dev/null
    . "$record"
}

# Of agents that were killed, below a folder: what is in use stays.
remove_groups() {
    local base=covey${1//\//-} group
    for group in /sys/fs/cgroup/"$base"* /sys/fs/cgroup/*/"$base"*; do
        [[ -d $group ]] || continue
        find "$group" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null
        rmdir "$group" 2>/dev/null
    done
    return 0
}

# What this run, or one that was killed, has made.
remove_all() {
    local left=
    lab_down "$prefix"
    if [[ -r $record ]]; then
        # shellcheck source=/dev/null
        left=$(. "$record" && echo "$dir")
        rm -f "$record"
        [[ $left != */covey-"$name".* ]] || remove_groups "$left"
    fi
    if [[ $left == */covey-"$name".* && -d $left ]] && ! $keep; then
        rm -rf "$left"
    fi
}

ended=false
finish() {
    local status=$?
    set +e
    trap '' INT TERM HUP
    $ended && return
    ended=true
    { kill "${helpers[@]}" && wait "${helpers[@]}"; } 2>/dev/null
    if ((status != 0 && status != 130)) && [[ -n ${dir:-} ]]; then
        keep=true
    fi
    [[ $command != run ]] || step "Removing the Pis"
    remove_all
    rm -f "$record.lock"
    if $keep && [[ -n ${dir:-} ]]; then
        echo "Logs and states are kept: $dir (agentd.log, state/logs below pi1 and pi2)"
    fi
    exit "$status"
}

# ---- the Pis ----

make_folders() {
    local base=${TMPDIR:-/tmp} pi
    # Names of sockets below it must fit into 107 bytes.
    ((${#base} <= 40)) || base=/tmp
    dir=$(mktemp -d "$base/covey-$name.XXXXXX")
    bin=$dir/bin
    chmod 755 "$dir" # workloads run as users of their own
    write_record
    mkdir "$bin"
    cp "${PROGRAMS[@]/#/$build/bin/}" "$bin/"
    for pi in "${LAB_PIS[@]}"; do
        mkdir "$dir/$pi"
        cat >"$dir/$pi/agent.yaml" <<YAML
node: $pi
interface: wlan0
state_dir: $dir/$pi/state
run_dir: $dir/$pi/run
workload_path: $bin:/usr/bin:/bin
YAML
    done
}

page_port() {
    if [[ $1 == pi1 ]]; then
        echo "$port"
    else
        echo $((port + 2))
    fi
}

# A machine that boots has a new boot id, and takes longer than the promises of leases live (docs/vip.md,
# rule 8). The id stands in place of this machine's own, in the agent's mount namespace alone.
BOOT_SECONDS=6

boot_pi() {
    cat /proc/sys/kernel/random/uuid >"$dir/$1/boot_id"
}

# start_agent PI: in its namespace, the page's listening socket handed in from here.
start_agent() {
    local pi=$1
    (
        close_lock
        # shellcheck disable=SC2016 # expanded inside
        exec setsid "$bin/listen-exec" "127.0.0.1:$(page_port "$pi")" -- \
            nsenter --net="/run/netns/$prefix-$pi" -- unshare --mount -- sh -c \
            'mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id && exec "$2" --config "$1/agent.yaml"' \
            sh "$dir/$pi" "$bin/agentd"
    ) </dev/null >>"$dir/$pi/agentd.log" 2>&1 &
    echo $! >"$dir/$pi/agentd.pid"
    disown $!
}

agent_answers() {
    value "$1" .kind status
}

agent_runs() {
    kill -0 "$(<"$dir/$1/agentd.pid")"
}

await_agent() {
    # Ends at once when agentd did: there is nothing to wait for.
    await 15 "$1's agent" agent_answers_or_ended "$1" && agent_runs "$1" 2>/dev/null && return
    tail -5 "$dir/$1/agentd.log" >&2
    return 1
}

agent_answers_or_ended() {
    agent_answers "$1" || ! agent_runs "$1"
}

# A Pi without power forgets what stands in /run.
start_pi() {
    await $((BOOT_SECONDS + 1)) "$1 to boot" is_booted "$1"
    boot_pi "$1"
    rm -rf "$dir/$1/run"
    lab_host_up "$prefix" "$1"
    start_agent "$1"
}

agent_is_dead() {
    ! agent_runs "$1"
}

is_booted() {
    (($(date +%s) - $(stat -c %Y "$dir/$1/cut") >= BOOT_SECONDS))
}

cut_power() {
    touch "$dir/$1/cut"
    lab_host_down "$prefix" "$1"
}

kill_agent() {
    kill -KILL "$(<"$dir/$1/agentd.pid")" && await 5 "agentd of $1 to be gone" agent_is_dead "$1"
}

# ---- the flock ----

form_flock() {
    local pi
    step "Two Pis, a client and their access point (network namespaces $prefix-*)"
    lab_up "$prefix"
    helper capture_gossip
    for pi in "${LAB_PIS[@]}"; do boot_pi "$pi" && start_agent "$pi"; done
    for pi in "${LAB_PIS[@]}"; do
        await_agent "$pi" || die 1 "agentd of $pi does not start; the end of its log is above"
    done
    step "pi1 founds a flock, pi2 joins it by a token"
    ctl pi1 -q init || die 1 "pi1 could not found a flock"
    [[ $command != check ]] || check_before_join
    ctl pi1 token create | ctl pi2 -q join - || die 1 "pi2 could not join"
    await 20 "both to see each other" all_pis ctl_quiet members=2 ||
        die 1 "the Pis do not find each other: $(ctl pi1 members 2>&1)"
}

ctl_quiet() {
    ctl "$1" -q --timeout 1 wait "${@:2}"
}

all_pis() {
    local pi
    for pi in "${LAB_PIS[@]}"; do "$1" "$pi" "${@:2}" || return; done
}

first_push() {
    local began
    step "git push of provisioning/example to pi1"
    mkdir "$dir/desired"
    cp -r "$here/example/." "$dir/desired/"
    git_here init -q -b main
    git_here add -A
    git_here commit -q -m "the first state of the flock"
    git_here remote add pi1 "$dir/pi1/state/flock.git"
    git_push || die 1 "the push was refused (see above)"
    began=$(now_ms)
    commit=$(git_here rev-parse HEAD)
    await 45 "both Pis to run it" all_pis ctl_quiet healthy "commit=$commit" || {
        ctl pi1 status || true
        die 1 "the flock does not get healthy; see above and $dir/pi*/agentd.log"
    }
    echo "   both Pis run it, all is healthy, $(($(now_ms) - began)) ms after the push"
}

push_again() {
    if (($# > 0)); then
        [[ -d $1 ]] || die 2 "there is no folder $1"
        [[ ! -e $1/.git ]] || die 2 "$1 is a repository: push it yourself, to $dir/pi1/state/flock.git"
        find "$dir/desired" -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} +
        cp -r "$1/." "$dir/desired/"
    fi
    git_here add -A
    git_here diff --cached --quiet || git_here commit -q -m "changed at $(date +%T)"
    git_push
}

say_what_to_try() {
    local sudo=
    [[ -n ${SUDO_USER:-} ]] && sudo="sudo "
    local vip
    vip=$(ctl pi1 -o json vip | jq -r '.items[0].address // "10.77.0.210"')
    ctl pi1 status || true
    cat <<TEXT

${bold}It runs. What to try next:${plain}
  status page            http://127.0.0.1:$port/   (of pi1; of pi2: http://127.0.0.1:$((port + 2))/)
  from another terminal  $sudo$bin/agentctl --socket $dir/pi1/run/agent.sock status
                         $again ctl pi2 events -f
                         $again ctl pi1 logs rest-api
  as a client            $again shell client      then: curl http://$vip:5000/ready; ping $vip
  change the state       edit $dir/desired/apps/web/rest-api.yaml, then: $again push
  a power cut            $again kill pi2          and back: $again start pi2
  the agent alone        $again kill-agent pi1    and back: $again start-agent pi1
  all of these           $again --help

Ctrl-C ends the demo and removes everything it made.
TEXT
}

# ---- run ----

run() {
    lab_possible || die 1 "see above"
    take_name
    trap finish EXIT
    trap 'exit 130' INT TERM HUP
    remove_all
    find_port
    make_folders
    form_flock
    [[ $command != check ]] || check_before_push
    first_push
    if [[ $command == check ]]; then
        check_all
        return
    fi
    say_what_to_try
    helper exec sleep infinity
    wait "${helpers[-1]}"
}

# The page's ports; a check makes do with others.
find_port() {
    while port_taken "$port" || port_taken $((port + 2)); do
        if [[ $command != check ]] || ((port > 29000)); then
            die 1 "port $port or $((port + 2)) of 127.0.0.1 is taken: choose another by --port"
        fi
        port=$((port + 10))
    done
}

need_pi() {
    [[ ${1:-} == pi1 || ${1:-} == pi2 ]] || die 2 "which one? $command pi1, or pi2"
}

original=("$@")
parse "$@"
case $command in
run | check)
    if [[ -z $build ]]; then
        build_programs
        become_root --build "$build" "${original[@]}"
    fi
    become_root "${original[@]}"
    run
    exit
    ;;
esac
become_root "${original[@]}"
set -- "${arguments[@]}"
case $command in
down)
    exec {lock}>"$record.lock" 2>/dev/null || exit 0
    flock -n "$lock" || die 1 "it still runs: end it with Ctrl-C in its own terminal"
    remove_all
    rm -f "$record.lock"
    ;;
ctl)
    need_pi "${1:-}"
    read_record
    agentctl=("$bin/agentctl" --socket "$dir/$1/run/agent.sock" "${@:2}")
    # In the Pi's own network, where doctor finds its interface; elsewhere while it has no power.
    [[ ! -e /run/netns/$prefix-$1 ]] || lab_in "$prefix" "$1" "${agentctl[@]}"
    exec "${agentctl[@]}"
    ;;
push) read_record && push_again "$@" ;;
kill)
    need_pi "${1:-}"
    read_record
    cut_power "$1"
    echo "$1 has no power now. Watch: $again ctl $([[ $1 == pi1 ]] && echo pi2 || echo pi1) status"
    ;;
start)
    need_pi "${1:-}"
    read_record
    [[ ! -e /run/netns/$prefix-$1 ]] || die 6 "$1 is on already (start-agent starts its agent)"
    start_pi "$1" && await_agent "$1" && echo "$1 is on"
    ;;
kill-agent)
    need_pi "${1:-}"
    read_record
    kill_agent "$1" && echo "agentd of $1 is dead; its workloads go on: $again start-agent $1"
    ;;
start-agent)
    need_pi "${1:-}"
    read_record
    agent_runs "$1" 2>/dev/null && die 6 "agentd of $1 runs already"
    start_agent "$1" && await_agent "$1" && echo "agentd of $1 runs"
    ;;
shell)
    [[ -n $(lab_address "${1:-}") ]] || die 2 "which one? shell pi1, pi2, client or ap"
    read_record
    PS1="$1:\w# " lab_in "$prefix" "$1" bash --norc
    ;;
esac
