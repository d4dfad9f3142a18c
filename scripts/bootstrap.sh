#!/bin/sh
# Makes .venv from uv.lock on a machine that has only python3; no root rights, nothing outside the checkout
# but uv's download cache. Safe to run again: an up-to-date environment takes a fraction of a second.
set -eu
cd "$(dirname "$0")/.."

own=.bootstrap
export UV_PROJECT_ENVIRONMENT=.venv   # where the Makefile looks, whatever the caller prefers

new_enough() {   # at least the required-version of pyproject.toml
    "$1" --version 2>/dev/null | python3 -c '
import re, sys
found = re.match(r"uv (\d+)\.(\d+)", sys.stdin.read())
sys.exit(not found or (int(found[1]), int(found[2])) < (0, 11))'
}

install_uv() {
    echo "bootstrap: installing uv into $own/" >&2
    if ! { python3 -m venv "$own" && "$own/bin/python" -m pip install --quiet "uv>=0.11"; } >&2; then
        rm -rf "$own"   # Debian's python3 comes without ensurepip; its pip can still fill a folder
        python3 -m pip install --quiet --target "$own" "uv>=0.11" >&2 || true
    fi
    new_enough "$own/bin/uv" || { echo "bootstrap: could not install uv; see https://docs.astral.sh/uv/" >&2; exit 1; }
}

if new_enough "$own/bin/uv"; then
    uv="$own/bin/uv"
elif new_enough uv; then
    uv=uv
else
    install_uv
    uv="$own/bin/uv"
fi

# uv trusts its own list of authorities; behind an inspecting proxy only the system's list will do.
"$uv" sync --frozen --quiet "$@" || {
    echo "bootstrap: trying again with the system's certificates" >&2
    UV_SYSTEM_CERTS=true exec "$uv" sync --frozen --quiet "$@"
}
