#!/usr/bin/env bash
# Holds the server to docs/openapi.json with schemathesis: no request may end in a 5xx, and nothing may be
# answered that the document does not say. Usage: contract.sh PATH-TO-FREEHOLD.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "SKIPPED: the contract test makes a network namespace, which needs root"
    exit 0
fi
if [ -z "${FREEHOLD_CONTRACT_NETNS:-}" ]; then
    tools=$PWD/target/e2e/schemathesis
    if [ ! -x "$tools/bin/st" ]; then
        python3 -m venv "$tools"
        "$tools/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5
    fi
    FREEHOLD_CONTRACT_NETNS=1 exec unshare --net "$0" "$(realpath "$1")"
fi

freehold=$1
dir=$(mktemp -d)
export FREEHOLD_HOME=$dir/home
url=http://127.0.0.1:7999
ip link set lo up
"$freehold" up --data "$dir/data" --listen "${url#http://}" --public-url "$url" --stop-apps >"$dir/up.log" 2>&1 &
up=$!
trap 'kill $up 2>/dev/null; wait $up || true; rm -rf "$dir"' EXIT
for _ in $(seq 300); do
    "$freehold" status >/dev/null 2>&1 && break
    kill -0 $up || { cat "$dir/up.log"; exit 1; }
    sleep 0.1
done

# Something of most kinds, so that requests find what they ask about.
mkdir -p "$dir/image/bin"
cp /bin/busybox "$dir/image/bin/sh"
echo 'entrypoint = ["/bin/sh", "-c", "while :; do echo on; sleep 1; done"]' >"$dir/image/freehold-image.toml"
"$freehold" image build "$dir/image" -t contract:1 >/dev/null
printf 'schema = 1\napp = "contract"\n[process.web]\nimage = "contract:1"\n' >"$dir/freehold.toml"
(cd "$dir" && "$freehold" deploy >/dev/null 2>&1)

# The routes of the door for machines are in the document, but at another address and behind TLS; whatever is asked of
# them here is answered as a path that is not there. Tests in doors/api hold that door to the same.
machines='^/v1/(join(/renewal)?|machine|node/.*)$'
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
checks=$checks,response_headers_conformance,negative_data_rejection,unsupported_method,use_after_free,ignored_auth
target/e2e/schemathesis/bin/st run docs/openapi.json --url "$url" \
    --header "Authorization: Bearer $(cat "$dir/data/token")" \
    --exclude-path-regex "$machines" --checks $checks --max-examples "${FREEHOLD_CONTRACT_EXAMPLES:-10}" --seed 1 --generation-database none \
    --request-timeout 10 --no-color
