"""What an operator does with the secrets of connections that are kept in the database: set, rotate, remove, list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from billhook.clock import Clock
from billhook.config import ConnectionConfig, Setting, masked_secret, settings_of
from billhook.errors import ConfigInvalid, NotFound, Refused, SealBroken
from billhook.plugins import Registry
from billhook_web.db import Database, Tx
from billhook_web.sealing import Sealer
from billhook_web.services.connecting import problems_of
from billhook_web.services.vault import Vault
from billhook_web.settings import Configuration, ConnectionName
from billhook_web.stores import audit, secrets
from billhook_web.stores.secrets import StoredSecret

STORED = "stored"
NOT_SET = "not set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One secret field as an operator may see it.

    ``source`` is what counts: ``environment``, ``file``, ``billhook.toml``, ``stored`` or ``not set``; ``value`` is
    masked. ``set_at`` and ``older_until`` are of the stored one, which counts only when nothing else gives the field.
    ``several``: the field takes several values at a time, so one before counts beside the current one.
    """

    connection: str
    field: str
    variable: str
    source: str
    value: str
    set_at: datetime | None = None
    older_until: datetime | None = None
    several: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """The operator's actions. Each is audited, without values, in the transaction that carries it out."""

    configuration: Configuration
    registry: Registry
    db: Database
    clock: Clock
    sealer: Sealer
    actor: str

    def store(self, connection: str, field: str, value: str) -> Secret:
        """Store ``value`` as the only one of the field.

        :raises NotFound: there is no such connection or secret field.
        :raises ConfigInvalid: the plugin cannot use the value.   :raises Unsupported: there is no key to seal with.
        """
        name, setting = self._find(connection, field)
        sealed = self._sealed(name, setting, value)
        with self.db.begin() as tx:
            secrets.put(tx, connection, setting.name, sealed=sealed, now=self.clock.now())
            self._note(tx, "secret.set", connection, setting)
        return self._shown(name, setting)

    def rotate(self, connection: str, field: str, value: str, *, overlap: timedelta) -> Secret:
        """Store ``value`` as the current one and keep the one before valid for ``overlap``.

        :raises Refused: nothing is stored to be rotated, or it is the same value. And as :meth:`store`.
        """
        name, setting = self._find(connection, field)
        sealed, now = self._sealed(name, setting, value), self.clock.now()
        if value == self._current(connection, setting):
            raise Refused(f"{connection} {setting.name} has this value already; nothing was changed")
        until = now + overlap
        with self.db.begin() as tx:
            if not secrets.rotate(tx, connection, setting.name, sealed=sealed, now=now, until=until):
                raise Refused(
                    f"no {setting.name} of {connection} is stored: rotate it where it is set, or store it with "
                    f"'billhook secrets set {connection} {setting.name}'"
                )
            self._note(tx, "secret.rotate", connection, setting, older_until=until.isoformat())
        return self._shown(name, setting)

    def remove(self, connection: str, field: str) -> bool:
        """Forget what is stored of the field, also of a connection that is gone; False: nothing was."""
        with self.db.begin() as tx:
            removed = secrets.remove(tx, connection, _spelt(field))
            if removed:
                subject = f"{connection}.{_spelt(field)}"
                audit.add(tx, at=self.clock.now(), actor=self.actor, action="secret.remove", subject=subject)
        return removed

    def listed(self) -> list[Secret]:
        """List every secret field of every connection, then what is stored and belongs to none."""
        listed = [
            self._shown(name, setting)
            for name in self.configuration.connections
            for setting in self._secret_settings(name)
        ]
        known = {(each.connection, each.field) for each in listed}
        return [*listed, *self._orphans(known)]

    def _orphans(self, known: set[tuple[str, str]]) -> list[Secret]:
        with self.db.read() as tx:
            stored = [each for each in secrets.all_of(tx) if each.expires_at is None]
        return [
            Secret(
                connection=each.connection, field=each.field, variable="", source="stored, belongs to nothing",
                value="set", set_at=each.set_at,
            )
            for each in stored
            if (each.connection, each.field) not in known
        ]  # fmt: skip

    def _find(self, connection: str, field: str) -> tuple[ConnectionName, Setting]:
        names = {each.name: each for each in self.configuration.connections}
        if connection not in names:
            raise NotFound(f"there is no connection {connection!r}; allowed: {', '.join(names) or 'none'}")
        settings = {each.name: each for each in self._secret_settings(names[connection])}
        if _spelt(field) not in settings:
            raise NotFound(f"{connection} has no secret {field!r}; allowed: {', '.join(settings) or 'none'}")
        return names[connection], settings[_spelt(field)]

    def _secret_settings(self, name: ConnectionName) -> list[Setting]:
        config = self.registry.config_class(name.plugin) or ConnectionConfig
        return [each for each in settings_of(config, name.name) if each.secret]

    def _sealed(self, name: ConnectionName, setting: Setting, value: str) -> str:
        """Seal a value that the plugin can use. What else is wrong with the connection is not looked at."""
        if not value:
            raise Refused(f"the value for {setting.variable} is empty; nothing was changed")
        tables = {**self.configuration.tables, name.name: _without(self._table(name), setting.name)}
        hidden = (setting.variable, f"{setting.variable}_FILE")
        env = {key: given for key, given in self.configuration.env.items() if key not in hidden}
        alone = replace(self.configuration, env=env, tables=tables)
        found = problems_of(name, alone, self.registry, {setting.name: (value,)})
        problems = [each for each in found if each.where == setting.variable]
        if problems:
            raise ConfigInvalid(problems)
        return self.sealer.seal(value, purpose=secrets.purpose(name.name, setting.name))

    def _shown(self, name: ConnectionName, setting: Setting) -> Secret:
        with self.db.read() as tx:
            now = self.clock.now()
            stored = [
                each
                for each in secrets.all_of(tx)
                if (each.connection, each.field) == (name.name, setting.name) and each.in_force(now)
            ]
        source, text = self._counting(name, setting, stored)
        return Secret(
            connection=name.name,
            field=setting.name,
            variable=setting.variable,
            source=source,
            value=text,
            set_at=next((each.set_at for each in stored if each.expires_at is None), None),
            older_until=max((each.expires_at for each in stored if each.expires_at), default=None),
            several=setting.several,
        )

    def _counting(
        self, name: ConnectionName, setting: Setting, stored: list[StoredSecret]
    ) -> tuple[str, str]:
        """Return where the value that counts comes from, and the value masked."""
        env, table = self.configuration.env, self._table(name)
        path = env.get(f"{setting.variable}_FILE", "").strip()
        if given := env.get(setting.variable, "").strip():
            return "environment", _mask(given)
        if path:
            return "file", _mask_file(path)
        if setting.name in table:
            return "billhook.toml", _mask(table[setting.name])
        if not stored:
            return NOT_SET, NOT_SET
        try:
            opened = Vault(db=self.db, clock=self.clock, sealer=self.sealer).opened(name.name, stored)
        except ConfigInvalid:
            return STORED, "cannot be opened"
        return STORED, _mask(list(opened.values[setting.name]))

    def _table(self, name: ConnectionName) -> Mapping[str, Any]:
        return self.configuration.tables.get(name.name, {})

    def _current(self, connection: str, setting: Setting) -> str | None:
        with self.db.read() as tx:
            stored = secrets.all_of(tx)
        for each in stored:
            if (each.connection, each.field, each.expires_at) == (connection, setting.name, None):
                try:
                    return self.sealer.open(each.sealed, purpose=secrets.purpose(connection, setting.name))
                except SealBroken:
                    return None
        return None

    def _note(self, tx: Tx, action: str, connection: str, setting: Setting, **detail: object) -> None:
        audit.add(
            tx, at=self.clock.now(), actor=self.actor, action=action, subject=f"{connection}.{setting.name}",
            detail=detail,
        )  # fmt: skip


def _spelt(field: str) -> str:
    return field.lower().replace("-", "_")


def _without(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}


def _mask(value: object) -> str:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    return ", ".join(masked_secret(str(part).strip()) for part in parts)


def _mask_file(path: str) -> str:
    file = Path(path)
    try:
        return _mask(file.read_text(encoding="utf-8").strip()) if file.is_file() else "no file"
    except (OSError, UnicodeError):
        return "unreadable"
