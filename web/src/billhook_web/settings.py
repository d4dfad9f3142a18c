"""The host's own settings: ``BILLHOOK_*`` from the environment, mounted files or ``billhook.toml``, checked at start-up."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from billhook.config import Secrets, load_connection, secrets_of
from billhook.dunning import RetrySchedule, parse_duration
from billhook.errors import ConfigInvalid, Problem
from billhook.http import AllowedTargets
from billhook_web.page_settings import PageSettings, Words
from billhook_web.sealing import Sealer

NEVER: Final = "never"
"""What says that something is not to be done at any time. An empty variable is one that is not set."""


class HostSettings(PageSettings):
    """What the host can be told. Every field is ``BILLHOOK_<FIELD>`` in the environment."""

    home: str = Field(".billhook", description="folder for the SQLite database; made when missing")
    database_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL, for instance postgresql://user:password@host/name; unset: SQLite in the home folder",
    )
    redis_url: SecretStr | None = Field(
        None, description="redis://host:6379/0; unset: background work runs inside the process"
    )
    connections: Words = Field(
        (),
        description="what to connect: plugin names or name=plugin, comma-separated, for instance acme-eu=acme",
    )
    public_url: str = Field(
        "http://127.0.0.1:8080", description="where customers and providers reach this host"
    )
    api_key: Secrets = Field(
        (),
        description="first API key with all scopes, at least 16 characters; several, comma-separated, while it is rotated",
    )
    secret_key: Secrets = Field(
        (),
        description="key that seals stored secrets, from 'billhook secrets new-key', the same for every process; "
        "several, comma-separated, while it is changed: the first seals, all open",
    )
    config: str | None = Field(None, description="path of billhook.toml")
    retry_schedule: str = Field(
        "P3D,P7D,P7D",
        description="waits between attempts to collect, as ISO 8601 durations; never: no second attempt",
    )
    reconcile_every: str = Field(
        "PT1H",
        description="how often providers are asked what was missed, as an ISO 8601 duration; never: not by itself",
    )
    keep_bodies: str = Field(
        "P90D",
        description="how long what was received is kept as it came, as an ISO 8601 duration, then only its facts; never: "
        "it is not pruned",
    )
    webhook_allow_hosts: Words = Field(
        (),
        description="where webhooks may go besides public https addresses: host names, addresses and networks, "
        "comma-separated, for instance hooks.internal,10.1.0.0/16",
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    plugins_allow: Words = Field((), description="plugins to load although no connection uses them")
    plugins_deny: Words = Field((), description="plugins never to load")
    worker_threads: int = Field(8, ge=1, le=64, description="threads for background work in one process")
    connection_concurrency: int = Field(
        4,
        ge=1,
        le=64,
        description="calls to one connection's provider at a time in one process; at most half of the worker threads",
    )
    unknown_deadline: str = Field(
        "P1D",
        description="how long the outcome of a call may stay unknown before an operator is told, as an ISO 8601 duration",
    )
    lease: str = Field(
        "PT2M",
        description="how long work rests after its process died, as an ISO 8601 duration; calls end well within it",
    )
    metrics_token: SecretStr | None = Field(
        None, description="bearer token that /metrics asks for; unset: whoever reaches it may read it"
    )

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("it must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _is_long(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < 16 for key in value):
            raise ValueError("it has fewer than 16 characters")
        return value

    @field_validator("secret_key")
    @classmethod
    def _is_key(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        Sealer.of(secret.get_secret_value() for secret in value)
        return value

    @field_validator("webhook_allow_hosts")
    @classmethod
    def _are_targets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        AllowedTargets.of(value)
        return value

    @field_validator("retry_schedule")
    @classmethod
    def _is_schedule(cls, value: str) -> str:
        text = "" if value == NEVER else value
        RetrySchedule.parse(text)
        return text

    @field_validator("unknown_deadline")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        parse_duration(value)
        return value

    @field_validator("lease")
    @classmethod
    def _is_lease(cls, value: str) -> str:
        if not timedelta(seconds=5) <= parse_duration(value) <= timedelta(hours=1):
            raise ValueError("it is not between 5 seconds and an hour")
        return value

    @field_validator("reconcile_every")
    @classmethod
    def _is_interval(cls, value: str) -> str:
        if value != NEVER and parse_duration(value) < timedelta(minutes=1):
            raise ValueError("it is shorter than a minute")
        return value

    @field_validator("keep_bodies")
    @classmethod
    def _is_span(cls, value: str) -> str:
        if value != NEVER and parse_duration(value) < timedelta(hours=1):
            raise ValueError("it is shorter than an hour")
        return value

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("it is none of DEBUG, INFO, WARNING, ERROR")
        return value.upper()

    def sqlalchemy_url(self) -> str:
        """Return the database to use; makes the home folder when it is the SQLite file there."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        home = Path(self.home).expanduser().absolute()
        home.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{home / 'billhook.sqlite3'}"

    def sealer(self) -> Sealer:
        """Return what seals stored secrets; without a key it refuses to."""
        return Sealer.of(secret.get_secret_value() for secret in self.secret_key)

    def webhook_targets(self) -> AllowedTargets:
        """Return where webhooks may go besides public addresses."""
        return AllowedTargets.of(self.webhook_allow_hosts)

    def patience_with_unknown(self) -> timedelta:
        """Return how long the outcome of a call may stay unknown before an operator is told."""
        return parse_duration(self.unknown_deadline)

    def lease_length(self) -> timedelta:
        """Return how long a piece of work belongs to the process that took it."""
        return parse_duration(self.lease)

    def reconciles_every(self) -> timedelta | None:
        """Return how often providers are asked what was missed; None: never by itself."""
        return None if self.reconcile_every == NEVER else parse_duration(self.reconcile_every)

    def keeps_bodies(self) -> timedelta | None:
        """Return how long bodies of deliveries are kept; None: they are not pruned."""
        return None if self.keep_bodies == NEVER else parse_duration(self.keep_bodies)

    def secrets(self) -> tuple[str, ...]:
        """Return what must never show: every secret, and the passwords inside the URLs."""
        urls = [url.get_secret_value() for url in (self.database_url, self.redis_url) if url is not None]
        passwords = [unquote(password) for url in urls if (password := _password(url))]
        return (*secrets_of(self), *passwords, *(quote(each, safe="") for each in passwords))

    def calls_at_a_time(self) -> int:
        """Return how many threads one connection may occupy: not all, or a slow provider would delay the others."""
        return min(self.connection_concurrency, max(1, self.worker_threads // 2))

    def schedule(self) -> RetrySchedule:
        """Return the waits between attempts to collect."""
        return RetrySchedule.parse(self.retry_schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionName:
    """One configured use of a plugin: ``acme-eu=acme`` is the connection ``acme-eu`` of the plugin ``acme``."""

    name: str
    plugin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything read at start-up: the host's settings, the connections and what the file says about each."""

    host: HostSettings
    connections: tuple[ConnectionName, ...]
    tables: Mapping[str, Mapping[str, Any]] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)  # as the tables: it may hold secrets


def read_configuration(env: Mapping[str, str]) -> Configuration:
    """Read and check the host's settings; raises :class:`ConfigInvalid` with every problem."""
    document = _read_toml(env.get("BILLHOOK_CONFIG", "").strip())
    host = load_connection(
        HostSettings, "billhook", env=env, table=document.get("billhook", {}), section="billhook"
    )
    names, problems = _names(host.connections)
    if problems:
        raise ConfigInvalid(problems)
    return Configuration(host=host, connections=names, tables=document.get("connections", {}), env=env)


def named_connections(env: Mapping[str, str]) -> Configuration:
    """Return the connections that are named, whatever else is wrong, so that their problems can be told too.

    None when ``billhook.toml`` cannot be read: what they lack may be in it.
    """
    try:
        document = _read_toml(env.get("BILLHOOK_CONFIG", "").strip())
    except ConfigInvalid:
        return Configuration(host=HostSettings(), connections=(), tables={}, env=env)
    named = env.get("BILLHOOK_CONNECTIONS", "").strip() or document.get("billhook", {}).get("connections", "")
    words = named.split(",") if isinstance(named, str) else map(str, named if isinstance(named, list) else ())
    entries = tuple(word.strip() for word in words if word.strip())
    tables = document.get("connections", {})
    return Configuration(host=HostSettings(), connections=_names(entries)[0], tables=tables, env=env)


def _password(url: str) -> str | None:
    """Return the password in a URL as it is written there; None: there is none, or it is no URL."""
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def _read_toml(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        problem = Problem(
            "BILLHOOK_CONFIG", f"cannot be read ({exc.strerror}).", "Point it at a readable TOML file."
        )
    except tomllib.TOMLDecodeError as exc:
        problem = Problem("BILLHOOK_CONFIG", f"is not valid TOML: {exc}.", "Correct the file.")
    raise ConfigInvalid([problem])


def _names(entries: tuple[str, ...]) -> tuple[tuple[ConnectionName, ...], list[Problem]]:
    names: list[ConnectionName] = []
    problems: list[Problem] = []
    for entry in entries:
        name, _, plugin = entry.partition("=")
        name, plugin = name.strip(), plugin.strip() or name.strip()
        allowed = name.replace("-", "").isalnum() and name.isascii() and name == name.lower()
        if not allowed or name == "billhook":
            problems.append(
                Problem(
                    "BILLHOOK_CONNECTIONS",
                    f"has {entry!r}, which is no name.",
                    "Use lower-case letters, digits and hyphens: acme or acme-eu=acme.",
                )
            )
        elif name in {known.name for known in names}:
            problems.append(
                Problem("BILLHOOK_CONNECTIONS", f"names {name!r} twice.", "Give each its own name.")
            )
        else:
            names.append(ConnectionName(name=name, plugin=plugin))
    return tuple(names), problems
