"""Where a webhook may be sent: which URLs can be used, and which addresses are somebody's own network.

A receiver's URL comes from outside. Without this, whoever may name one could have the host call its own neighbours:
the database, a router, a cloud's metadata service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Self
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL: Final = 2048
"""Characters of a receiver's URL."""

_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")  # RFC 3986; others are to be percent-encoded
_HOST = re.compile(
    r"(?=.{1,253}\.?$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?"
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443}
_LEAST_PORT = 1024  # below are the services of other protocols: mail, name servers, databases' elders

_CLOSED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23", "2001:db8::/32", "3fff::/20",
    )
)  # fmt: skip
"""IANA's special-purpose registries (RFC 6890) and multicast. Of IPv6 only what is in :data:`_GLOBAL`: Teredo is."""

_GLOBAL = ip_network(
    "2000::/3"
)  # all of IPv6 that was ever given out; everything else is somebody's own, or nobody's

_TRANSLATED = ip_network("64:ff9b::/96")  # NAT64: the last four bytes are the IPv4 address that is reached


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedTargets:
    """What an operator opened besides the public internet: ``hosts`` by name, ``networks`` by address."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, words: Iterable[str]) -> Self:
        """Read names (``hooks.internal``), addresses and networks (``10.1.0.0/16``).

        :raises ValueError: one of them is none of these.
        """
        hosts: set[str] = set()
        networks: list[Network] = []
        for word in words:
            try:
                networks.append(ip_network(word))
            except ValueError:
                if not _HOST.fullmatch(word.lower()) or _is_number(word.lower()):
                    raise ValueError(
                        f"{word!r} is no host name, address or network; write hooks.internal, 10.1.2.3 or 10.1.0.0/16"
                    ) from None
                hosts.add(word.lower().rstrip("."))
        return cls(hosts=frozenset(hosts), networks=tuple(networks))

    def names(self, host: str) -> bool:
        """Whether this host is opened whatever its address is."""
        address = _literal(host)
        return host.rstrip(".") in self.hosts if address is None else self.contains(address)

    def contains(self, address: Address) -> bool:
        """Whether this address is in an opened network; of an IPv4 address inside an IPv6 one the former counts."""
        reached = embedded(address) or address
        return any(reached in network for network in self.networks if network.version == reached.version)

    def permits(self, host: str, address: Address) -> bool:
        """Whether a webhook for ``host`` may go to ``address``, one of those its name leads to."""
        return is_public(address) or self.names(host) or self.contains(address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A receiver's URL, taken apart. ``host`` is in lower case, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """Return what belongs into the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def embedded(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address only wraps: mapped, 6to4, NAT64; None: it wraps none."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet: not private, shared, loopback, link-local or reserved."""
    reached = embedded(address) or address
    if reached.version == 6 and reached not in _GLOBAL:
        return False
    closed = any(reached in network for network in _CLOSED if network.version == reached.version)
    return reached.is_global and not closed


def read_target(url: str, allowed: AllowedTargets) -> Target:
    """Take a receiver's URL apart. What its name leads to is not looked at here, but whenever something is sent.

    :raises ValueError: it cannot be used; the message says why and what to write instead.
    """
    if len(url) > LONGEST_URL or not _URL.fullmatch(url):
        raise ValueError(f"It is no URL of at most {LONGEST_URL} ASCII characters; percent-encode others.")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:  # half an IPv6 address, a port that is no number
        raise ValueError("Its host or port cannot be read.") from None
    if parts.scheme not in _PORTS:
        raise ValueError("It does not begin with https://.")
    if "@" in parts.netloc:
        raise ValueError("It holds a user or password; leave them out: the signature says who sends.")
    if "#" in url:
        raise ValueError("It holds a fragment (#), which is never sent; leave it out.")
    _check_host(host, allowed)
    trusted = allowed.names(host)
    if parts.scheme == "http" and not trusted:
        raise ValueError("Use https://; http:// is only for hosts in BILLHOOK_WEBHOOK_ALLOW_HOSTS.")
    port = _PORTS[parts.scheme] if port is None else port
    if not trusted and port < _LEAST_PORT and port not in _PORTS.values():
        raise ValueError(f"Its port may be 443, 80, or {_LEAST_PORT} and above.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme=parts.scheme, host=host, port=port, path=path)


def _check_host(host: str, allowed: AllowedTargets) -> None:
    address = _literal(host)
    if address is not None:
        if not allowed.permits(host, address):
            raise ValueError(
                "Its address is private or reserved; an operator may open it with BILLHOOK_WEBHOOK_ALLOW_HOSTS."
            )
    elif not _HOST.fullmatch(host) or _is_number(host):
        raise ValueError(
            "Its host is no name and no address; an IPv4 address is written as four decimal numbers."
        )


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_number(host: str) -> bool:
    """Whether a resolver would read this name as an IPv4 address: 127.1, 0x7f000001, 2130706433."""
    return bool(_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]))
