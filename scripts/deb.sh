#!/usr/bin/env bash
# `make deb`: the Debian package of the release build.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/tools
if [ ! -x "$tools/bin/cargo-deb" ]; then
    echo "Building cargo-deb, which packs it, into target/tools (a minute or two, once)."
    cargo install --quiet --locked --root "$tools" cargo-deb@3.8.0
fi
cargo build --release --package freehold-cli

# What the package installs beside the program.
pages=target/deb-pages
rm -rf "$pages" && mkdir -p "$pages/man"
target/release/freehold man "$pages/man"
gzip -9n "$pages"/man/*.1
for shell in bash zsh fish; do
    target/release/freehold completions "$shell" > "$pages/$shell"
done
PATH=$tools/bin:$PATH cargo deb --no-build --package freehold-cli
