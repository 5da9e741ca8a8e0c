#!/usr/bin/env bash
# Makes the images that the end-to-end tests deploy and that Freehold did not make: nginx from
# this distribution's own packages, packed with umoci. Made once, kept in target/e2e.
set -euo pipefail
cd "$(dirname "$0")/.."

out=target/e2e
layout=$out/nginx
[ -f "$layout/index.json" ] && exit 0
. /etc/os-release

echo "packing nginx from $ID $VERSION_CODENAME packages (a minute or two, once)"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mmdebstrap --quiet --variant=minbase --include=nginx-light \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$VERSION_CODENAME" "$work/root.tar"

umoci init --layout "$work/nginx"
for tag in 1 2; do
    umoci new --image "$work/nginx:$tag"
done
umoci unpack --image "$work/nginx:1" "$work/bundle"
tar -C "$work/bundle/rootfs" -xf "$work/root.tar"
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
