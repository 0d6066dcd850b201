#!/bin/sh
# RabbitMQ of Debian's package as a workload: rabbitmq.sh run|ready|ctl ARGUMENT...
# Everything that is kept lies in $HOME. Erlang's ports answer on 127.0.0.1 alone. At each start the user
# $RABBITMQ_USER gets the password $RABBITMQ_PASSWORD and all permissions; without a password there is
# only RabbitMQ's own guest, who may come from 127.0.0.1.
set -eu
scripts=/usr/lib/rabbitmq/bin
if [ ! -x "$scripts/rabbitmq-server" ]; then
    echo "rabbitmq: $scripts has no RabbitMQ: apt-get install rabbitmq-server" >&2
    exit 1
fi
export RABBITMQ_CONF_ENV_FILE=/dev/null
export RABBITMQ_CONFIG_FILE="$HOME/rabbitmq"
export RABBITMQ_MNESIA_BASE="$HOME/mnesia"
export RABBITMQ_LOG_BASE="$HOME/log"
export RABBITMQ_LOGS=-
export RABBITMQ_PID_FILE="$HOME/pid"
export RABBITMQ_ENABLED_PLUGINS_FILE="$HOME/enabled_plugins"
export RABBITMQ_NODENAME=rabbit@localhost
export RABBITMQ_DIST_PORT="$PORT_DIST"
export ERL_EPMD_PORT="$PORT_EPMD"
export ERL_EPMD_ADDRESS=127.0.0.1
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"

# Users and permissions as RabbitMQ reads them when it starts.
definitions() {
    password=$(printf %s "$RABBITMQ_PASSWORD" | sed 's/[\\"]/\\&/g')
    cat <<TEXT
{"vhosts": [{"name": "/"}],
 "users": [{"name": "$RABBITMQ_USER", "password": "$password", "tags": "administrator"}],
 "permissions": [{"user": "$RABBITMQ_USER", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]}
TEXT
}

settings() {
    echo "listeners.tcp.1 = $HOST:$PORT"
    echo "listeners.tcp.2 = 127.0.0.1:$PORT"
    echo "management.tcp.ip = $HOST"
    echo "management.tcp.port = $PORT_MANAGEMENT"
    echo "prometheus.tcp.ip = $HOST"
    echo "prometheus.tcp.port = $PORT_PROMETHEUS"
    [ -z "${RABBITMQ_PASSWORD:-}" ] || echo "load_definitions = $HOME/definitions.json"
}

configure() (
    umask 077
    echo "[rabbitmq_management, rabbitmq_prometheus]." >"$RABBITMQ_ENABLED_PLUGINS_FILE"
    [ -z "${RABBITMQ_PASSWORD:-}" ] || definitions >"$HOME/definitions.json"
    settings >"$RABBITMQ_CONFIG_FILE.conf"
)

case $1 in
run)
    configure
    exec "$scripts/rabbitmq-server"
    ;;
ready) exec "$scripts/rabbitmq-diagnostics" --quiet check_running ;;
ctl)
    shift
    exec "$scripts/rabbitmqctl" "$@"
    ;;
esac
