#!/usr/bin/env bash
# Fuzzes what reads strangers' bytes: the targets of fuzz/, with libFuzzer on the stable compiler.
#
#   scripts/fuzz.sh                  every target, a fixed number of runs from a fixed seed: part of `make test`
#   scripts/fuzz.sh TARGET SECONDS   one target for so long, from what earlier runs found: `make fuzz`
#
# Coverage comes from LLVM's own pass (fuzz/rustc.sh), which stable rustc has; there is no address
# sanitizer, which it has not. `cargo fuzz` is not needed, but takes fuzz/ as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

# A target and its runs: as many as take some seconds.
runs="manifest:4000 compose:4000 image_config:50000 image_manifest:20000 layer:2000 reference:100000 request:100000 proxy_header:150000"
work=$PWD/target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
bin=$work/$host/debug

build() {
    # The versions that the workspace is tested with, and libFuzzer's beside them.
    [ fuzz/Cargo.lock -nt Cargo.lock ] || cp Cargo.lock fuzz/Cargo.lock
    CARGO_INCREMENTAL=0 RUSTC_WRAPPER=$PWD/fuzz/rustc.sh \
        cargo build --quiet --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$work" --bins
}

# A few good inputs of each, from what the repository has.
seed() {
    rm -rf "$work/seeds"
    for one in $runs; do mkdir -p "$work/seeds/${one%:*}"; done
    local s=$work/seeds tree
    for file in base/model/src/manifest/testdata/*.toml examples/*/freehold.toml stacks/*/freehold.toml; do
        cp "$file" "$s/manifest/$(tr / - <<<"$file")"
    done
    for file in run/compose/tests/compose/samples/*/compose.yaml; do
        cp "$file" "$s/compose/$(tr / - <<<"$file")"
    done
    # With the files that they name: .env, variables, and another Compose file.
    for folder in run/compose/tests/compose/reference/*; do
        { cat "$folder/compose.yaml"; printf '\0'; cat "$folder/.env" 2>/dev/null || true
          printf '\0'; cat "$folder"/[a-z]*.env 2>/dev/null || true
          printf '\0'; cat "$folder"/*/*.yaml "$folder"/compose.override.yaml 2>/dev/null || true
        } >"$s/compose/${folder##*/}"
    done

    local digest type=application/vnd.oci.image
    digest=sha256:$(printf 'fuzz' | sha256sum | cut -d' ' -f1)
    cat >"$s/image_config/config" <<END
{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Entrypoint":["/bin/sh"],"Cmd":["-c"],"WorkingDir":"/srv","User":"1:1","StopSignal":"SIGTERM","ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":["$digest"]},"history":[{"created":"2026-01-01T00:00:00Z","created_by":"sh","empty_layer":true}]}
END
    cat >"$s/image_manifest/manifest" <<END
{"schemaVersion":2,"mediaType":"$type.manifest.v1+json","config":{"mediaType":"$type.config.v1+json","digest":"$digest","size":4},"layers":[{"mediaType":"$type.layer.v1.tar+gzip","digest":"$digest","size":4,"urls":["https://example.com"]}],"subject":{"mediaType":"$type.manifest.v1+json","digest":"$digest","size":4},"annotations":{"a":"b"}}
END
    cat >"$s/image_manifest/index" <<END
{"schemaVersion":2,"mediaType":"$type.index.v1+json","manifests":[{"mediaType":"$type.manifest.v1+json","digest":"$digest","size":4,"platform":{"architecture":"arm64","os":"linux","variant":"v8"},"artifactType":"a/b"}]}
END
    printf 'registry.example:5000/a/b-c.d:1.0_x@%s' "$digest" >"$s/reference/full"
    printf 'guestbook:1' >"$s/reference/short"
    printf '[::1]:5000/a' >"$s/reference/v6"
    printf '/v2/a/b/blobs/%s\nbytes=0-99,-5' "$digest" >"$s/request/blob"
    printf '/v2/a/b/blobs/uploads/01ARZ3NDEKTSV4RRFFQ69G5FAV\n0-99' >"$s/request/upload"
    printf '/v2/a/manifests/latest\n' >"$s/request/manifest"
    printf '/v2/a/referrers/%s\nbytes 0-9/10' "$digest" >"$s/request/referrers"
    printf 'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET /' >"$s/proxy_header/text"
    printf 'PROXY TCP6 ::1 fd00::1 65535 1\r\n' >"$s/proxy_header/text6"
    printf 'PROXY UNKNOWN x\r\n' >"$s/proxy_header/unknown"
    printf '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\x0a\0\0\1\x0a\0\0\2\x12\x34\0\x50\4\0\4abcd' >"$s/proxy_header/binary"
    printf '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0' >"$s/proxy_header/local"

    # Files, a folder, links of both kinds, a device, whiteouts, long names and a sparse file.
    tree=$(mktemp -d)
    mkdir -p "$tree/dir/$(printf 'long%.0s' {1..40})" && echo hello >"$tree/dir/file" && ln "$tree/dir/file" "$tree/hard"
    ln -s ../../etc/passwd "$tree/dir/soft" && touch "$tree/.wh.gone" "$tree/dir/.wh..wh..opq" && mkfifo "$tree/fifo"
    truncate -s 1M "$tree/sparse"
    for format in gnu pax; do
        tar --create --sparse --format=$format --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
            --pax-option=delete=atime,delete=ctime,exthdr.name=pax --file="$s/layer/$format" --directory="$tree" . 2>/dev/null ||
            tar --create --sparse --format=$format --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
                --file="$s/layer/$format" --directory="$tree" .
    done
    gzip --no-name --keep "$s/layer/gnu"
    # A frame of one raw block (RFC 8878, 3.1.1).
    printf '\x28\xb5\x2f\xfd\x20\x05\x29\0\0hello' >"$s/layer/zst"
    rm -rf "$tree"
}

# Runs one target; how to do it again is said when something is found.
run() {
    local target=$1 log=$work/$1.log
    shift
    mkdir -p "$work/found/$target"
    if ! (cd "$work" && "$bin/$target" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$work/found/$target/" "$@") >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "fuzzing $target has found something; the whole log is in $log"
        local input
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        [ -z "$input" ] || echo "again, with this input alone: $bin/$target $input"
        return 1
    fi
}

build
seed
# Layers are unpacked here, in memory where there is some.
TMPDIR=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
if [ $# -ge 1 ]; then
    target=$1 seconds=${2:-60}
    [ -x "$bin/$target" ] || { echo "there is no target $target; there are: $(sed 's/:[0-9]*//g' <<<"$runs")"; exit 2; }
    mkdir -p "$work/corpus/$target"
    echo "fuzzing $target for $seconds s; the inputs that it learns are kept in $work/corpus/$target"
    run "$target" -max_total_time="$seconds" "$work/corpus/$target" "$work/seeds/$target"
    grep -E 'stat::number_of_executed_units|DONE' "$work/$target.log"
    exit
fi
for one in $runs; do
    # No corpus but the seeds, and a fixed seed of chance: the same runs each time.
    started=$(date +%s)
    run "${one%:*}" -seed=1 -runs="${one#*:}" "$work/seeds/${one%:*}"
    echo "fuzzed ${one%:*}: ${one#*:} runs, $(($(date +%s) - started)) s"
done
