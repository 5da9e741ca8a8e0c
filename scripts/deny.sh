#!/usr/bin/env bash
# Checks licences, bans and sources of dependencies with cargo-deny, where it is installed.
# Advisories need a download, so they are looked at by hand: cargo deny check advisories.
set -euo pipefail

if ! command -v cargo-deny >/dev/null; then
    echo "cargo-deny is not installed: licences not checked (cargo install --locked cargo-deny)"
    exit 0
fi
exec cargo deny --offline check bans licenses sources
