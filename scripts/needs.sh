#!/usr/bin/env bash
# Makes sure that Debian packages are there: `needs.sh "why" PACKAGE...`.
# Says what is missing and why before it installs it; without root prints the exact command instead.
set -euo pipefail

why=$1
shift
missing=()
for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "Freehold needs ${missing[*]} $why."
if [ "$(id -u)" -ne 0 ]; then
    echo "Install with:"
    echo "    sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
    exit 1
fi
echo "Installing with apt-get."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
