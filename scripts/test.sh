#!/usr/bin/env bash
# Runs the whole test suite, with cargo-nextest where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

# What tests run but do not build: the tour's release build and the image it deploys.
echo "building (some ten minutes the first time, on two cores)"
cargo build --quiet --release --package freehold-cli
examples/guestbook/pack.sh >/dev/null

cargo test --quiet --workspace --doc
if command -v cargo-nextest >/dev/null; then
    cargo nextest run --workspace
else
    cargo test --quiet --workspace --lib --bins --tests --examples --no-fail-fast
fi

echo "fuzzing what reads strangers' bytes (libFuzzer; scripts/fuzz.sh)"
scripts/fuzz.sh

echo "holding the server to its OpenAPI document (schemathesis)"
scripts/contract.sh target/release/freehold
