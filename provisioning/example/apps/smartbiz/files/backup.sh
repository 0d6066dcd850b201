#!/bin/sh
# The database of SmartBiz into a file, and back:
#   backup.sh run              a new one below $HOME/backups; the newest 14 are kept
#   backup.sh restore [FILE]   puts the newest, or FILE, in place of what is there: all of it or nothing
# DATABASE_URL says where the database is, PGPASSWORD the password.
set -eu
umask 077
folder=$HOME/backups
keep=14
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
if [ ! -x "$bin/pg_dump" ]; then
    echo "backup: there is no pg_dump: apt-get install postgresql-client" >&2
    exit 1
fi

all() {
    ls -1 "$folder"/smartbiz-*.dump 2>/dev/null | sort -r
}

case $1 in
run)
    mkdir -p "$folder"
    file=$folder/smartbiz-$(date -u +%Y%m%dT%H%M%SZ).dump
    "$bin/pg_dump" --format=custom --no-owner --no-privileges --file="$file.new" "$DATABASE_URL"
    # Only one that can be read gets the name, once it is on the disk.
    "$bin/pg_restore" --list "$file.new" >/dev/null
    sync "$file.new"
    mv "$file.new" "$file"
    all | tail -n +$((keep + 1)) | while read -r old; do rm -f "$old"; done
    echo "backup: $file, $(wc -c <"$file") bytes, $(all | wc -l) kept"
    ;;
restore)
    file=${2:-$(all | head -n 1)}
    "$bin/pg_restore" --clean --if-exists --no-owner --no-privileges --single-transaction \
        --exit-on-error --dbname="$DATABASE_URL" "$file"
    echo "backup: $file is restored"
    ;;
*)
    echo "usage: backup.sh run | restore [FILE]" >&2
    exit 2
    ;;
esac
