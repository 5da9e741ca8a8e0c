#!/usr/bin/env bash
# Makes the images that the end-to-end tests of `freehold init` start from: what the templates take from
# public registries, of this distribution's own packages, packed with umoci. One root file system, five
# tags that differ in their configs alone. Made once, kept in target/e2e.
set -euo pipefail
cd "$(dirname "$0")/.."

out=target/e2e
layout=$out/stacks
[ -f "$layout/index.json" ] && exit 0
. /etc/os-release

echo "packing Node, Python, Redis, PostgreSQL and nginx from $ID $VERSION_CODENAME packages (two minutes, once)"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Without documentation, and without the compiler of PostgreSQL's JIT, which is larger than all the rest.
exclude=('/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' '/usr/share/info/*'
    '/usr/lib/*/libLLVM*' '/usr/lib/postgresql/*/lib/bitcode/*' '/usr/lib/postgresql/*/lib/llvmjit*')
# PostgreSQL's installation wants its manual's folders, and is kept from making a database of its own.
prepare='mkdir -p "$1/usr/share/man/man1" "$1/usr/share/man/man7" "$1/etc/postgresql-common"
    echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"'
mmdebstrap --quiet --variant=minbase --essential-hook="$prepare" --include=nginx-light,nodejs,python3,redis-server,postgresql \
    "${exclude[@]/#/--dpkgopt=path-exclude=}" \
    --aptopt='APT::Install-Recommends "false"' "$VERSION_CODENAME" "$work/root.tar"

umoci init --layout "$work/stacks"
umoci new --image "$work/stacks:base"
umoci unpack --image "$work/stacks:base" "$work/bundle"
root=$work/bundle/rootfs
tar -C "$root" -xf "$work/root.tar"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/lib/postgresql/*
# The official images' own places, so that a template fits both.
mkdir -p "$root/usr/share/nginx/html" "$root/data"
cat > "$root/etc/nginx/nginx.conf" <<'CONF'
worker_processes 1;
error_log /dev/stderr;
pid /run/nginx.pid;
events { worker_connections 512; }
http {
    include mime.types;
    access_log /dev/stdout;
    server { listen 80; root /usr/share/nginx/html; }
}
CONF
# What the official image's entrypoint does, as far as the template needs it.
cat > "$root/usr/local/bin/postgres-entrypoint" <<'SCRIPT'
#!/bin/sh
set -eu
as_postgres="setpriv --reuid=postgres --regid=postgres --clear-groups"
mkdir -p "$PGDATA" /run/postgresql
chown -R postgres "$PGDATA" /run/postgresql
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    (umask 077 && cat "$POSTGRES_PASSWORD_FILE" > /tmp/password && chown postgres /tmp/password)
    $as_postgres initdb --no-sync --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 -D "$PGDATA"
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec $as_postgres postgres -c listen_addresses='*' -D "$PGDATA"
SCRIPT
printf '#!/bin/sh\nexec "$@"\n' > "$root/usr/local/bin/redis-entrypoint"
chmod 755 "$root"/usr/local/bin/*-entrypoint
umoci repack --image "$work/stacks:base" "$work/bundle"

path=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:$(cd "$root" && echo usr/lib/postgresql/*/bin | sed 's|^|/|')
config() {
    umoci config --image "$work/stacks:base" --tag "$1" --config.env "PATH=$path" "${@:2}"
}
config nginx --config.cmd nginx --config.cmd -g --config.cmd 'daemon off;' --config.stopsignal SIGQUIT
config node --config.cmd node
config python --config.cmd python3
config redis --config.entrypoint redis-entrypoint --config.cmd redis-server
config postgres --config.entrypoint postgres-entrypoint --config.stopsignal SIGINT
umoci gc --layout "$work/stacks"

rm -rf "$layout"
mv "$work/stacks" "$layout"
