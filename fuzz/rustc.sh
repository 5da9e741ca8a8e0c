#!/usr/bin/env bash
# Cargo's RUSTC_WRAPPER for scripts/fuzz.sh: compiles our own crates, and those that read for them, so that
# libFuzzer sees which ways are taken. All others (HTTP, TLS and what else comes along) are left as they are:
# instrumenting them would cost minutes and teach it nothing.
set -euo pipefail
# Build scripts and macros run without libFuzzer; Cargo names no target for them.
[[ " $* " == *" --target "* ]] || exec "$@"
case ${CARGO_PKG_NAME:-} in
freehold-* | oci-spec | ppp | saphyr-parser | serde_json | tar | toml | toml_edit | toml_parser | winnow)
    llvm=-Cllvm-args=-sanitizer-coverage
    exec "$@" --cfg fuzzing -Cpasses=sancov-module "$llvm-level=4" "$llvm-inline-8bit-counters" \
        "$llvm-pc-table" "$llvm-trace-compares"
    ;;
esac
exec "$@"
