#!/bin/sh
# Sees to what the browser tests drive: a Chromium, and axe, which finds what people cannot read or reach. What is there is
# used; Debian's Chromium is installed where that is allowed, axe is fetched from npm. Without a Chromium the browser tests
# are skipped, without axe they do not look for its findings; both is said. Nothing else needs either.
set -eu
cd "$(dirname "$0")/.."

AXE=4.14.1
AXE_SHA256=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c   # of axe.min.js; MPL-2.0, only used by tests

have_chromium() {
    for name in "${BILLHOOK_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

install_chromium() {
    command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ] || return 1
    echo "browser: installing Debian's Chromium" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null
}

fetch_axe() {
    command -v npm >/dev/null 2>&1 || return 1
    rm -rf .bootstrap/axe.new && mkdir -p .bootstrap/axe.new
    npm pack "axe-core@$AXE" --silent --pack-destination .bootstrap/axe.new >/dev/null || return 1
    tar -xzf .bootstrap/axe.new/axe-core-$AXE.tgz -C .bootstrap/axe.new package/axe.min.js package/LICENSE || return 1
    echo "$AXE_SHA256  .bootstrap/axe.new/package/axe.min.js" | sha256sum --check --quiet || return 1
    rm -rf .bootstrap/axe && mv .bootstrap/axe.new/package .bootstrap/axe && rm -rf .bootstrap/axe.new
}

have_chromium || install_chromium ||
    echo "browser: no Chromium; its tests are skipped (BILLHOOK_TEST_CHROMIUM names one)" >&2
[ -n "${BILLHOOK_TEST_AXE:-}" ] || [ -f .bootstrap/axe/axe.min.js ] || fetch_axe ||
    echo "browser: no axe; what it finds is not looked for (BILLHOOK_TEST_AXE names an axe.min.js)" >&2
