#!/usr/bin/env bash
# `make down`: stops the Freehold of $FREEHOLD_DATA and waits until it is gone.
set -euo pipefail

pidfile=${FREEHOLD_DATA:?}/freehold.pid
pid=$(cat "$pidfile" 2>/dev/null || true)
if [ -z "$pid" ] || [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != freehold ]; then
    echo "Freehold is not running."
    exit 0
fi
kill -TERM "$pid"
for _ in $(seq 600); do
    [ -d "/proc/$pid" ] || { echo "Freehold stopped. Its data stays in $FREEHOLD_DATA."; exit 0; }
    sleep 0.1
done
echo "Freehold (process $pid) did not stop within a minute; see $FREEHOLD_DATA/freehold.log"
exit 1
