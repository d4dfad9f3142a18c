"""The way in: whether providers and customers can reach this host, as far as it can be told from here."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from billhook.errors import BillhookError
from billhook.hookspecs import HttpClients
from billhook.http import Timeouts
from billhook_web.doctor.finding import Diagnosis, error, ok, warning
from billhook_web.runtime import Runtime

Resolve = Callable[[str], Sequence[str]]
"""From a name to its addresses; raises OSError when there are none."""

ABOUT = "public URL"
SET = "Set BILLHOOK_PUBLIC_URL to the address the world uses."
PATIENCE = Timeouts(connect=5.0, read=5.0, body=5.0)


def addresses(name: str) -> Sequence[str]:
    """Ask the system's resolver."""
    return sorted({str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})


def public_url(runtime: Runtime, *, http: HttpClients, resolve: Resolve) -> Iterator[Diagnosis]:
    """Look where ``BILLHOOK_PUBLIC_URL`` leads, and whether this host answers there."""
    url = runtime.configuration.host.public_url
    parts = urlsplit(url)
    try:
        found = [ipaddress.ip_address(each.partition("%")[0]) for each in resolve(parts.hostname or "")]
    except (OSError, UnicodeError, ValueError):
        yield error(ABOUT, f"{parts.hostname} is a name without an address.", SET)
        return
    if any(not each.is_global for each in found):
        what = f"{url} leads to a private address: providers out there cannot reach this host."
        yield warning(ABOUT, what, f"{SET} On a laptop, use a tunnel.")
        return
    if parts.scheme == "http":
        yield warning(ABOUT, "It is not encrypted.", "Put TLS in front and use https://.")
    yield _asked(url, http)


def _asked(url: str, http: HttpClients) -> Diagnosis:
    fix = "Start the host, and look at the proxy and the firewall in front of it."
    try:
        with http(name=ABOUT, base_url=url, headers={}, secrets=(), timeouts=PATIENCE) as client:
            answer = client.get("healthz")
            if answer.ok and answer.json() == {"status": "ok"}:
                return ok(ABOUT, f"{url} leads to this host.")
    except (BillhookError, ValueError) as exc:
        return error(ABOUT, f"{url} cannot be reached from here: {exc}", fix)
    return error(ABOUT, f"{url}/healthz was answered {answer.status} by something that is no Billhook.", fix)
