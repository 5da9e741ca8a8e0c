#!/usr/bin/env bash
# `make up`: starts the Freehold that was built, unless it runs already, and deploys the guestbook.
# Usage: up.sh PATH-TO-FREEHOLD. State is kept in $FREEHOLD_DATA.
set -euo pipefail
cd "$(dirname "$0")/.."

freehold=$PWD/$1
data=${FREEHOLD_DATA:?}
log=$data/freehold.log

if [ "$(id -u)" -ne 0 ]; then
    echo "Containers need root: namespaces, network devices and cgroups. Run:"
    echo "    sudo --preserve-env=PATH,HOME make up"
    exit 1
fi

install -d -m 0700 "$data"
if "$freehold" status >/dev/null 2>&1; then
    echo "Freehold runs already."
else
    # A new session, so that it goes on when this shell ends. It takes its apps along when it stops.
    setsid "$freehold" up --data "$data" --stop-apps >>"$log" 2>&1 </dev/null &
    for _ in $(seq 150); do
        "$freehold" status >/dev/null 2>&1 && break
        if ! kill -0 $! 2>/dev/null; then
            echo "Freehold did not start:"
            tail -n 20 "$log"
            exit 1
        fi
        sleep 0.1
    done
fi

folder=$(examples/guestbook/pack.sh)
"$freehold" image build "$folder" -t guestbook:1
"$freehold" deploy -f examples/guestbook/freehold.toml

cat <<TEXT

The guestbook answers at http://localhost:8000. Try next:
    freehold() { $freehold "\$@"; }
    freehold status                     what runs, and where it is reached
    freehold logs -a guestbook          what it prints
    freehold receipt list               what was done, and how it ended
    make down                           stops Freehold and its apps; data stays
Freehold's own log: $log
TEXT
