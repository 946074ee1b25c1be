#!/bin/sh
# setup: installs the Debian packages quern is built and tested with, configures and builds it.
set -eu
cd "$(dirname "$0")/.."
missing=
for p in $(cat .ci/packages); do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $p"
done
if [ -n "$missing" ]; then
    sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing:$missing"
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
[ -f build/config.mk ] || ./configure
make -s -j"$(nproc)" all
