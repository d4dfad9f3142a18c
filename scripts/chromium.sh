#!/bin/sh
# Sees to a Chromium for the browser tests: what is there is used, else Debian's package is installed where that is allowed.
# Without one the browser tests are skipped, and say so; nothing else needs it.
set -eu

for name in "${BILLHOOK_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome; do
    if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "chromium: installing Debian's package for the browser tests" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null && exit 0
fi
echo "chromium: none found and none installed; the browser tests are skipped (set BILLHOOK_TEST_CHROMIUM to one)" >&2
