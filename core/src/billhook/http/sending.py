"""Posting a webhook to a receiver that somebody else named.

The receiver's name is resolved here, every address it leads to is checked, and the connection is made to exactly the
address that was checked: a name server that answers differently a moment later changes nothing. The certificate is
verified against the name all the same. Redirects are not followed, no proxy and no cookie is used, connections are not
kept: the next webhook is checked anew.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Protocol, Self

import httpx

from billhook import __version__
from billhook.clock import monotonic
from billhook.errors import Permanent, Temporary
from billhook.http.addresses import Address, AllowedTargets, Target, read_target
from billhook.http.client import tls

SECONDS: Final = 15.0
"""How long a receiver may take in all, from the connection to the end of what is read of its answer."""

CONNECT_SECONDS: Final = 5.0
READ_AT_MOST: Final = 16 * 1024
"""Bytes read of an answer; what follows is not looked at."""

TRIED_AT_MOST: Final = 3  # addresses of one name
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout)

Resolve = Callable[[str, int], Sequence[str]]
"""From a name and a port to its addresses; raises OSError when there are none."""


class TargetForbidden(Permanent):
    """The URL may not be used, or its name leads to an address that may not be reached. Nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver answered. ``headers`` have lower-case names; ``body`` is the beginning of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Post(Protocol):
    """Sends one webhook."""

    def __call__(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer, whatever its status; raises Temporary or TargetForbidden when there is none."""
        ...


def addresses_of(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class Sender:
    """Posts webhooks. Threads may share it."""

    def __init__(
        self,
        *,
        allowed: AllowedTargets | None = None,
        resolve: Resolve = addresses_of,
        authorities: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """Prepare.

        :param allowed: what may be reached besides public addresses.
        :param authorities: verifies certificates; None: as the machine does.
        :param seconds: how long a receiver may take in all.
        """
        self._allowed = allowed or AllowedTargets()
        self._resolve = resolve
        self._seconds = seconds
        # No connection is kept: the pool knows only addresses, and two names of one address must not share one.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._transport = httpx.HTTPTransport(verify=authorities or tls(), limits=limits, retries=0)

    def close(self) -> None:
        """Close what is open."""
        self._transport.close()

    def __call__(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post ``body`` and return the answer, whatever its status.

        :raises TargetForbidden: the URL or an address of its host may not be used.
        :raises Temporary: there was no answer in time; the message shows the host and nothing else of the URL.
        """
        until = monotonic() + self._seconds
        try:
            target = read_target(url, self._allowed)
        except ValueError as exc:
            raise TargetForbidden(f"the URL may not be used: {exc}") from None
        found = self._checked_addresses(target)[:TRIED_AT_MOST]
        for number, address in enumerate(found, start=1):
            try:
                return self._exchange(target, address, headers, body, until - monotonic())
            except _NEVER_LEFT as exc:
                if number == len(found) or monotonic() >= until:
                    raise Temporary(f"{target.host} could not be connected to: {_said(exc)}") from None
        raise Temporary(f"{target.host} has no address")

    def _checked_addresses(self, target: Target) -> list[Address]:
        """Return the addresses; one that is forbidden forbids all: no honest name leads inside and outside."""
        try:
            found = [ip_address(each.partition("%")[0]) for each in self._resolve(target.host, target.port)]
        except (OSError, ValueError):  # UnicodeError, of a name that cannot be asked for, is a ValueError
            raise Temporary(f"{target.host} has no address") from None
        if not all(self._allowed.permits(target.host, each) for each in found):
            raise TargetForbidden(
                f"{target.host} leads to a private or reserved address; nothing was sent "
                "(BILLHOOK_WEBHOOK_ALLOW_HOSTS can open it)"
            )
        return found

    def _exchange(
        self, target: Target, address: Address, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> Answer:
        with _Cutoff(max(seconds, 0.1)) as cutoff:
            request = _request(target, address, headers, body, cutoff)
            try:
                response = self._transport.handle_request(request)
                try:
                    return _answer(response)
                finally:
                    response.close()
            except _NEVER_LEFT:
                raise
            except httpx.HTTPError as exc:
                late = cutoff.passed or isinstance(exc, httpx.TimeoutException)
                what = f"did not answer within {self._seconds:g} s" if late else f"broke off: {_said(exc)}"
                raise Temporary(f"{target.host} {what}") from None


class _Cutoff:
    """Ends a connection when its time is up: the library's own time-outs begin again with every byte that trickles in."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.passed = False
        self._stream: Any = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the connection when the library says that it is made, and when TLS wraps it."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = info["return_value"]

    def _cut(self) -> None:
        self.passed = True
        stream = self._stream
        if stream is not None:
            with suppress(OSError):  # it is closed already
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _request(
    target: Target, address: Address, headers: Mapping[str, str], body: bytes, cutoff: _Cutoff
) -> httpx.Request:
    """Address the request to ``address`` and name the host where names are asked for: in the header and in TLS."""
    url = httpx.URL(scheme=target.scheme, host=str(address), port=target.port).copy_with(
        raw_path=target.path.encode("ascii")
    )
    wait = httpx.Timeout(cutoff.seconds, connect=min(CONNECT_SECONDS, cutoff.seconds))
    named = {
        "Host": target.authority,
        "User-Agent": f"billhook/{__version__}",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    return httpx.Request(
        "POST",
        url,
        headers={**named, **headers},
        content=body,
        extensions={"timeout": wait.as_dict(), "sni_hostname": target.host, "trace": cutoff.trace},
    )


def _answer(response: httpx.Response) -> Answer:
    body = bytearray()
    for part in response.iter_raw():  # never unpacked: a small answer may unpack to a large one
        body += part
        if len(body) >= READ_AT_MOST:
            break
    return Answer(
        status=response.status_code, headers=dict(response.headers), body=bytes(body[:READ_AT_MOST])
    )


def _said(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
