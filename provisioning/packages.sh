#!/bin/bash
# The one list of the Debian packages that Covey needs, and their installation.
#
#   provisioning/packages.sh GROUP...        installs what is missing (apt; as root or through sudo)
#   provisioning/packages.sh --list GROUP... prints the names for this release and installs nothing
#
# Groups: build, run (an agent on a Pi), demo, test, bench, fuzz, picture, wifi. For Debian 12 (bookworm)
# and 13 (trixie). Where the releases name a package differently, the names stand with a "|" between
# them: the first that this release has is taken.
set -euo pipefail

packages_of() {
    case $1 in
    build)
        echo gcc libc6-dev cmake ninja-build pkgconf libuv1-dev "libmsgpack-c-dev|libmsgpack-dev" \
            libsodium-dev libsqlite3-dev libyaml-dev libjansson-dev libmnl-dev libmicrohttpd-dev \
            librabbitmq-dev libcurl4-openssl-dev libseccomp-dev libpq-dev gzip brotli
        ;;
    run) echo git openssh-client nftables iproute2 ;;
    demo) packages_of run && echo util-linux procps curl jq iputils-ping iputils-arping tcpdump ;;
    test) packages_of demo && packages_of picture && echo libcmocka-dev python3-jsonschema python3-yaml \
        rabbitmq-server python3-pika postgresql spin prometheus python3-prometheus-client nodejs npm openssh-server openssl ;;
    bench) packages_of build && packages_of demo && echo python3 serf s6 runit supervisor keepalived ucarp \
        rabbitmq-server python3-pika python3-prometheus-client postgresql wrk gunicorn python3-flask \
        python3-fastapi python3-uvicorn python3-uvloop python3-httptools python3-sqlalchemy \
        "python3-sqlalchemy-ext|python3-sqlalchemy" python3-psycopg2 ;;
    fuzz) echo clang "libclang-rt-19-dev|libclang-rt-14-dev" ;;
    picture) echo chromium ;;
    wifi)
        echo qemu-system-x86 busybox-static cpio kmod hostapd wpasupplicant iw iproute2 nftables \
            iputils-ping iputils-arping jq python3
        ;;
    *)
        echo "packages.sh: there is no group \"$1\": build, run, demo, test, bench, fuzz, picture, wifi" >&2
        return 2
        ;;
    esac
}

is_installed() {
    # A Node.js that is not Debian's brings npm with it, and does not go together with Debian's.
    [[ $1 != npm ]] || ! command -v npm >/dev/null || return 0
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

can_be_installed() {
    local candidate
    candidate=$(apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" { print $2 }')
    [[ -n $candidate && $candidate != "(none)" ]]
}

# Of "a|b": the one that is installed, else the first that can be, else the last.
choose() {
    local names name
    IFS='|' read -ra names <<<"$1"
    for name in "${names[@]}"; do is_installed "$name" && { echo "$name" && return; }; done
    for name in "${names[@]}"; do can_be_installed "$name" && { echo "$name" && return; }; done
    echo "${names[-1]}"
}

chosen() {
    local group entry
    for group in "$@"; do
        local entries
        entries=$(packages_of "$group")
        for entry in $entries; do choose "$entry"; done
    done | sort -u
}

missing() {
    local name
    for name in $(chosen "$@"); do is_installed "$name" || echo "$name"; done
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        sudo "$@"
    fi
}

install_missing() {
    local lacking
    lacking=$(missing "$@" | xargs)
    [[ -n $lacking ]] || return 0
    if ((EUID != 0)) && ! command -v sudo >/dev/null; then
        echo "packages.sh: these packages are missing: $lacking" >&2
        echo "packages.sh: install them as root (apt-get install $lacking), or install sudo" >&2
        return 1
    fi
    echo "Installing: $lacking"
    if ! as_root apt-get update; then
        echo "packages.sh: apt-get update failed (see above): is there a network?" >&2
        return 1
    fi
    lacking=$(missing "$@" | xargs) # which of "a|b" there is may be known only now
    # shellcheck disable=SC2086 # one word each
    if ! as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $lacking; then
        echo "packages.sh: apt-get could not install: $lacking (see above)" >&2
        return 1
    fi
}

if ! command -v apt-get >/dev/null; then
    echo "packages.sh: this is not Debian: there is no apt-get. Covey is built on Debian 12 and 13" >&2
    exit 1
fi
action=install_missing
if [[ ${1:-} == --list ]]; then
    action=chosen
    shift
fi
if (($# == 0)); then
    echo "usage: provisioning/packages.sh [--list] GROUP...   (build run demo test bench fuzz picture wifi)" >&2
    exit 2
fi
for group in "$@"; do packages_of "$group" >/dev/null; done
"$action" "$@"
