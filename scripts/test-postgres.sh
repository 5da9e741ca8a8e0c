#!/usr/bin/env bash
# A PostgreSQL server for tests: `test-postgres.sh shared PID` or `test-postgres.sh own FOLDER`.
#
# shared: prints the folder of the unix socket of the one server of this test run, starting it if it is not
#         there yet; it ends, and its folder goes, when process PID (whoever runs the tests) does.
# own:    makes a server in FOLDER for a test that will kill it, starts it, prints the same.
# kill:   kills every process of the server of FOLDER at once, as a power cut would.
# again:  starts the server of FOLDER once more.
# stop:   ends it.
#
# No port is opened, unless FREEHOLD_TEST_POSTGRES_LISTEN names an address, as a laboratory's host does: then whoever
# reaches it is let in. As root it runs as another user, since initdb refuses root.
set -euo pipefail

verb=$1
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
if [ -z "$bin" ]; then
    echo "tests need PostgreSQL: sudo apt-get install postgresql" >&2
    exit 1
fi
as=()
owner=$(id -un)
if [ "$(id -u)" -eq 0 ]; then
    owner=$(id -un postgres 2>/dev/null || echo nobody)
    as=(setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups)
fi

# What a server of a test may do without: flushing. A killed process loses nothing by that.
options="-c recovery_init_sync_method=syncfs -c listen_addresses=${FREEHOLD_TEST_POSTGRES_LISTEN:-} -c max_connections=480 -c shared_buffers=64MB -c unix_socket_permissions=0777"

start() { # FOLDER OPTIONS
    "${as[@]}" "$bin/pg_ctl" -D "$1/data" -s -w -t 60 -l "$1/log" -o "-k $1 $2" start </dev/null >/dev/null 2>&1 9>&- ||
        { cat "$1/log" >&2; exit 1; }
}

make() { # FOLDER
    mkdir -p "$1"
    chmod 755 "$1"
    [ "$(id -u)" -ne 0 ] || chown "$owner" "$1"
    "${as[@]}" "$bin/initdb" -D "$1/data" -U freehold --auth=trust --encoding=UTF8 --locale=C --no-sync >/dev/null
    # Users with passwords, for tests that look where these turn up.
    "${as[@]}" sed -i '1i local all guarded,sesame scram-sha-256' "$1/data/pg_hba.conf"
    [ -z "${FREEHOLD_TEST_POSTGRES_LISTEN:-}" ] ||
        "${as[@]}" sed -i '$a host all all samenet trust' "$1/data/pg_hba.conf"
}

case $verb in
shared)
    folder=/tmp/freehold-test-postgres-$(id -u)-$2
    mkdir -p "$folder"
    exec 9>"$folder/lock"
    flock 9
    if [ ! -e "$folder/ready" ]; then
        make "$folder"
        start "$folder" "$options -c fsync=off"
        touch "$folder/ready"
        # Ends with the test run, however that ends.
        setsid bash -c 'tail --pid="$1" -f /dev/null; shift; folder=$1; shift
            "$@" -D "$folder/data" -m immediate -s stop; rm -rf "$folder"' \
            watch "$2" "$folder" "${as[@]}" "$bin/pg_ctl" </dev/null >/dev/null 2>&1 9>&- &
    fi
    echo "$folder"
    ;;
own)
    make "$2"
    start "$2" "$options"
    echo "$2"
    ;;
kill)
    pid=$(head -1 "$2/data/postmaster.pid")
    # It must not start others in their place.
    kill -STOP "$pid"
    read -ra children < "/proc/$pid/task/$pid/children" || true
    kill -9 "${children[@]}" "$pid" 2>/dev/null || true
    # One that nobody asks for yet is dead as well.
    for process in "$pid" "${children[@]}"; do
        while grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$process/status"; do sleep 0.01; done
    done
    # PostgreSQL takes such a number for a server that runs, and would not start again beside it.
    rm -f "$2/data/postmaster.pid" "$2"/.s.PGSQL.*
    ;;
stop)
    "${as[@]}" "$bin/pg_ctl" -D "$2/data" -m immediate -s stop </dev/null >/dev/null 2>&1 || true
    ;;
again)
    start "$2" "$options"
    echo "$2"
    ;;
esac
