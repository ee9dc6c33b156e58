#!/bin/sh
# A Chromium for the browser tests: what is there, else Debian's package as root, else Playwright's own.
# Where none can be had, the tests say so and skip: this script never fails.
# Use: get-chromium.sh [PYTHON]; without one only what needs no Playwright is tried.
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing Debian's chromium for the browser tests"
    apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 && exit 0
fi
[ $# = 0 ] && exit 0
"$1" -m playwright install chromium >/dev/null 2>&1 && exit 0
echo "no Chromium could be had: the browser tests will be skipped" >&2
