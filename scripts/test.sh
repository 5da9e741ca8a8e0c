#!/usr/bin/env bash
# Runs the whole test suite, with cargo-nextest where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --quiet --package freehold-cli --package guestbook
if command -v cargo-nextest >/dev/null; then
    cargo nextest run --workspace --no-fail-fast
else
    cargo test --quiet --workspace --no-fail-fast
fi
cargo test --quiet --workspace --doc
