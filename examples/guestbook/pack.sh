#!/bin/sh
# Builds the guestbook as one static program, lays out the folder that becomes its image, and prints
# that folder:  freehold image build "$(examples/guestbook/pack.sh)" -t guestbook:1
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
host=$(rustc -vV | sed -n 's/^host: //p')
stage=$target/guestbook-image

# With --target given, these flags reach the program alone: build scripts and macros stay dynamic.
cd "$root"
RUSTFLAGS="-C target-feature=+crt-static" \
CARGO_TARGET_DIR="$target/static" \
CARGO_PROFILE_RELEASE_OPT_LEVEL=s \
CARGO_PROFILE_RELEASE_LTO=true \
CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
CARGO_PROFILE_RELEASE_PANIC=abort \
CARGO_PROFILE_RELEASE_STRIP=symbols \
    cargo build --quiet --release --package guestbook --target "$host" >&2

program=$target/static/$host/release/guestbook
if ldd "$program" 2>/dev/null | grep -q '=>'; then
    echo "pack.sh: $program is not static, and would not start in an otherwise empty image" >&2
    exit 1
fi

rm -rf "$stage"
mkdir -p "$stage/data" "$stage/tmp"
# The program runs as nobody, and writes to these two.
chmod 1777 "$stage/data" "$stage/tmp"
install -m 0755 "$program" "$stage/guestbook"
install -m 0644 "$here/image/freehold-image.toml" "$stage/freehold-image.toml"
echo "$stage"
