#!/bin/sh
# PostgreSQL of Debian's package as a workload: postgres.sh init|run|ready
# init makes the data folder if there is none: a cluster, the user $POSTGRES_USER with
# $POSTGRES_PASSWORD, and its database $POSTGRES_DB. Without a password nobody comes in by TCP.
set -eu
data=$HOME/data

# A data folder belongs to the version that made it.
if [ -s "$data/PG_VERSION" ]; then
    bin=/usr/lib/postgresql/$(cat "$data/PG_VERSION")/bin
else
    bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
fi
if [ ! -x "$bin/postgres" ]; then
    echo "postgres: ${bin:-/usr/lib/postgresql} has no PostgreSQL: apt-get install postgresql" >&2
    exit 1
fi

quote() {
    printf %s "$1" | sed "s/$2/$2$2/g"
}

first_start() {
    rm -rf "$data.new"
    "$bin/initdb" -D "$data.new" --username=postgres --auth-local=peer --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8
    echo "host all all samenet scram-sha-256" >>"$data.new/pg_hba.conf"
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
        user=$(quote "$POSTGRES_USER" '"')
        {
            echo "CREATE ROLE \"$user\" LOGIN PASSWORD '$(quote "$POSTGRES_PASSWORD" "'")';"
            echo "CREATE DATABASE \"$(quote "$POSTGRES_DB" '"')\" OWNER \"$user\";"
        } | "$bin/postgres" --single -D "$data.new" postgres >/dev/null
    fi
    # Only a whole one gets the name: what a power cut left is made anew.
    sync
    mv "$data.new" "$data"
}

case $1 in
init) [ -s "$data/PG_VERSION" ] || first_start ;;
run)
    exec "$bin/postgres" -D "$data" -c listen_addresses="$HOST,127.0.0.1" -p "$PORT" \
        -c unix_socket_directories=/tmp
    ;;
ready) exec "$bin/pg_isready" --quiet --host=/tmp --port="$PORT" ;;
esac
