#!/bin/sh
# Switches on apps of this folder that are shipped off, with a new password sealed for them. In your copy:
#
#   ./switch-on.sh postgres smartbiz     a shop on PostgreSQL
#   ./switch-on.sh rabbitmq orders       the order pipeline on RabbitMQ
#
# Run it on a Pi of the flock as root; or anywhere with KEYS=FILE, where FILE is what "agentctl secret
# keys" prints there. Look at what it has changed (git diff), give one Pi the label data: "true" in
# cluster.yaml, commit, push. It changes nothing that is switched on already.
set -eu
cd "$(dirname "$0")"

seal() { # NAME: a password of 24 characters, which nobody has to know
    head -c 18 /dev/urandom | base64 | tr '+/' '-_' | agentctl secret seal ${KEYS:+--keys "$KEYS"} "$1" password
}

[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
for app in "$@"; do
    [ -d "apps/$app" ] || { echo "switch-on.sh: there is no apps/$app here" >&2 && exit 2; }
    for document in "apps/$app"/*.yaml; do
        sed -i -e 's/\(replicas\|suspend\): [0-9a-z]* # on: \([0-9a-z]*\)/\1: \2/' \
            -e 's/# \(- {name: [A-Z_]*PASSWORD, value: "${secret:\)/\1/' "$document"
    done
    for name in $(sed -n 's/^ *- {name: [A-Z_]*PASSWORD, value: "${secret:\([a-z]*\)\/password}"}.*/\1/p' "apps/$app"/*.yaml | sort -u); do
        [ -e "apps/$name/secret.yaml" ] && continue
        seal "$name" >"apps/$name/secret.yaml.new" || { rm -f "apps/$name/secret.yaml.new" && exit 1; }
        mv "apps/$name/secret.yaml.new" "apps/$name/secret.yaml"
        echo "sealed a new password: apps/$name/secret.yaml"
    done
    echo "switched on: $app"
done
