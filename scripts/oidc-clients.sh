#!/usr/bin/env bash
# Makes sure that the OpenID clients are there with which the provider is tested, and says where: authlib (Python) and
# openid-client (Node), pinned. Called by the end-to-end test `oidc`.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/e2e
exec 9>target/e2e/oidc-clients.lock
flock 9

tools=$PWD/target/e2e/oidc-clients-2
if [ ! -e "$tools/whole" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools/authlib" >&2
    "$tools/authlib/bin/pip" install --quiet --disable-pip-version-check \
        authlib==1.9.9 requests==2.34.2 cryptography==50.0.2 joserfc==1.8.0 >&2
    mkdir "$tools/node"
    (cd "$tools/node" && npm install --silent --no-audit --no-fund --no-save openid-client@6.8.9 >&2)
    # Debian 12 has Node 18, and openid-client needs 20.
    node=$(command -v node)
    if [ "$("$node" -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
        (cd "$tools/node" && npm install --silent --no-audit --no-fund --no-save openid-client@6.8.9 node@22 >&2)
        node=$tools/node/node_modules/node/bin/node
    fi
    ln -s "$node" "$tools/node/run"
    touch "$tools/whole"
fi
echo "$tools"
