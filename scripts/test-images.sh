#!/usr/bin/env bash
# Makes the images that the end-to-end tests deploy and that Freehold did not make: nginx and redis from
# this distribution's own packages, packed with umoci. Each is made once, and kept in target/e2e.
set -euo pipefail
cd "$(dirname "$0")/.."

out=target/e2e
. /etc/os-release
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# root PACKAGES FILE: a root file system with those packages, as a tar file.
root() {
    mmdebstrap --quiet --variant=minbase --include="$1" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$VERSION_CODENAME" "$2"
}

nginx() {
    layout=$out/nginx
    [ -f "$layout/index.json" ] && return
    echo "packing nginx from $ID $VERSION_CODENAME packages (a minute or two, once)"
    root nginx-light "$work/nginx.tar"

    umoci init --layout "$work/nginx"
    for tag in 1 2; do
        umoci new --image "$work/nginx:$tag"
    done
    umoci unpack --image "$work/nginx:1" "$work/bundle"
    tar -C "$work/bundle/rootfs" -xf "$work/nginx.tar"
    echo 'release one' > "$work/bundle/rootfs/var/www/html/index.html"
    cat > "$work/bundle/rootfs/etc/nginx/nginx.conf" <<'CONF'
worker_processes 1;
error_log /dev/stderr;
pid /run/nginx.pid;
events { worker_connections 512; }
http {
    access_log /dev/stdout;
    server { listen 80; root /var/www/html; }
}
CONF
    umoci repack --image "$work/nginx:1" "$work/bundle"
    config=(--config.cmd nginx --config.cmd -g --config.cmd 'daemon off;' --config.exposedports 80/tcp)
    umoci config --image "$work/nginx:1" "${config[@]}" --config.stopsignal SIGQUIT

    # The second tag is the first with another page: one more small layer.
    umoci tag --image "$work/nginx:1" 2
    umoci unpack --image "$work/nginx:2" "$work/second"
    echo 'release two' > "$work/second/rootfs/var/www/html/index.html"
    umoci repack --image "$work/nginx:2" "$work/second"
    umoci gc --layout "$work/nginx"

    rm -rf "$layout"
    mv "$work/nginx" "$layout"
}

# Its data is at /data, owned by its own user, as in the image that others publish.
redis() {
    layout=$out/redis
    [ -f "$layout/index.json" ] && return
    echo "packing redis from $ID $VERSION_CODENAME packages (a minute or two, once)"
    root redis-server "$work/redis.tar"
    umoci init --layout "$work/redis"
    umoci new --image "$work/redis:1"
    umoci unpack --image "$work/redis:1" "$work/redis-bundle"
    tar -C "$work/redis-bundle/rootfs" -xf "$work/redis.tar"
    install -d -m 0750 "$work/redis-bundle/rootfs/data"
    umoci repack --image "$work/redis:1" "$work/redis-bundle"
    umoci config --image "$work/redis:1" --config.user redis --config.workingdir /data \
        --config.cmd redis-server --config.cmd --bind --config.cmd 0.0.0.0 \
        --config.cmd --protected-mode --config.cmd no --config.cmd --dir --config.cmd /data \
        --config.cmd --appendonly --config.cmd yes --config.cmd --appendfsync --config.cmd always \
        --config.exposedports 6379/tcp
    umoci gc --layout "$work/redis"
    rm -rf "$layout"
    mv "$work/redis" "$layout"
}

nginx
redis
