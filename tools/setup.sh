#!/bin/sh
# tools/setup.sh: install the Debian packages that the build and the tests need, if any is missing.
#
# Quick when everything is there: only the package database is asked. As root, or through sudo.
set -eu

packages='gcc g++ meson ninja-build pkg-config libc6-dev libcurl4-openssl-dev libjansson-dev libpcre2-dev libutf8proc-dev zlib1g-dev libopenblas-dev
    python3 python3-pip'

missing=
for p in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) || status=
    [ "$status" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || {
    echo "setup: these packages (by their Debian names) are needed:$missing" >&2
    exit 1
}
sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "setup: needs root or sudo to install:$missing" >&2
        exit 1
    }
    sudo=sudo
fi
echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    exit 1
fi
