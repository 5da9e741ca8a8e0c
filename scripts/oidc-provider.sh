#!/usr/bin/env bash
# Makes sure that the OpenID provider is there with which people sign in to Freehold in the end-to-end test `sso`, and
# says where: oidc-provider (npm, certified by the OpenID Foundation), pinned, and a node that runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/e2e
exec 9>target/e2e/oidc-provider.lock
flock 9

tools=$PWD/target/e2e/oidc-provider-1
if [ ! -e "$tools/whole" ]; then
    rm -rf "$tools"
    mkdir "$tools"
    node=$(command -v node)
    cd "$tools"
    # Debian 12 has Node 18, and oidc-provider needs 22.
    if [ "$("$node" -p 'process.versions.node.split(".")[0]')" -lt 22 ]; then
        npm install --silent --no-audit --no-fund --no-save oidc-provider@9.13.3 node@22 >&2
        node=$tools/node_modules/node/bin/node
    else
        npm install --silent --no-audit --no-fund --no-save oidc-provider@9.13.3 >&2
    fi
    ln -s "$node" "$tools/run"
    touch "$tools/whole"
fi
echo "$tools"
