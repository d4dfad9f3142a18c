"""A connection's settings, declared once: from the environment, mounted files or ``billhook.toml``, checked, masked.

A plugin declares a frozen :class:`ConnectionConfig`; from it come the environment variables (``ACME_API_KEY``), their
``_FILE`` twins for mounted secrets, the keys in ``[connections.acme]`` of ``billhook.toml``, the messages that name
the variable to set, and the masked form an operator may see. The environment wins over the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from billhook.errors import ConfigInvalid, Problem


class ConnectionConfig(BaseModel):
    """Base of every plugin's settings. Give each field a description: people read it when it is missing."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


C = TypeVar("C", bound="ConnectionConfig")

MISSING = "is not set."
"""What is wrong with a setting that is required and comes from nowhere."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not (key.strip() and equals and item.strip()) for key, equals, item in pairs):
        raise ValueError("write it as KEY=value,KEY=value")
    return {key.strip(): item.strip() for key, _, item in pairs}


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]
"""Several secrets, comma-separated: all are accepted while one is being rotated."""

Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]
"""``EUR=pdt_1,USD=pdt_2``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field of a connection as documentation and forms show it. ``several``: it takes values with commas between."""

    name: str
    variable: str
    description: str
    required: bool
    secret: bool
    default: str | None
    several: bool = False


def prefix_of(connection: str) -> str:
    """Return what a connection's variables begin with: ``acme-eu`` → ``ACME_EU``."""
    return connection.upper().replace("-", "_")


def settings_of(config: type[ConnectionConfig], connection: str) -> tuple[Setting, ...]:
    """List what a connection of this plugin can be told, in the order of declaration."""
    return tuple(_setting(name, info, connection) for name, info in config.model_fields.items())


def _setting(name: str, info: FieldInfo, connection: str) -> Setting:
    required = info.is_required()
    default = None if required or info.default in (None, PydanticUndefined, (), {}) else str(info.default)
    return Setting(
        name=name,
        variable=f"{prefix_of(connection)}_{name.upper()}",
        description=info.description or "",
        required=required,
        secret="SecretStr" in str(info.annotation),
        default=default,
        several="tuple" in str(info.annotation),
    )


def load_connection(
    config: type[C],
    connection: str,
    *,
    env: Mapping[str, str],
    table: Mapping[str, Any] | None = None,
    section: str | None = None,
    read_file: Callable[[str], str] = lambda path: Path(path).read_text(encoding="utf-8"),
) -> C:
    """Collect and check one connection's settings.

    :param table: what the TOML file says about it, and ``section`` where: default ``connections.<connection>``.

    :raises ConfigInvalid: with every problem, each naming the variable to set.
    """
    values: dict[str, Any] = dict(table or {})
    section = section or f"connections.{connection}"
    problems = _unknown_keys(config, section, values)
    unreadable = set()
    for setting in settings_of(config, connection):
        try:
            value = _from_environment(setting.variable, env, read_file)
        except (OSError, UnicodeError) as exc:
            unreadable.add(setting.variable)
            problems.append(_unreadable(setting, exc))
            continue
        if value is not None:
            values[setting.name] = value
    known = {name: value for name, value in values.items() if name in config.model_fields}
    loaded, found = _checked(config, connection, known, section)
    problems += [problem for problem in found if problem.where not in unreadable]
    if problems or loaded is None:
        raise ConfigInvalid(problems)
    return loaded


def _checked(
    config: type[C], connection: str, values: Mapping[str, Any], section: str
) -> tuple[C | None, list[Problem]]:
    try:
        return config(**values), []
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)
    given = [values.get(setting.name) for setting in settings_of(config, connection) if setting.secret]
    found = [_problem(error, config, connection, section) for error in errors]
    return None, [replace(problem, what=_without(problem.what, given)) for problem in found]


def _unreadable(setting: Setting, exc: OSError | UnicodeError) -> Problem:
    why = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
    what = f"cannot be read ({why or type(exc).__name__})."
    return Problem(f"{setting.variable}_FILE", what, "Point it at a readable file.")


def _from_environment(variable: str, env: Mapping[str, str], read_file: Callable[[str], str]) -> str | None:
    if env.get(variable, "").strip():
        return env[variable].strip()
    path = env.get(f"{variable}_FILE", "").strip()
    return read_file(path).strip() if path else None


def _unknown_keys(config: type[ConnectionConfig], section: str, values: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for key in values:
        if key in config.model_fields:
            continue
        close = difflib.get_close_matches(key, config.model_fields, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Allowed: {', '.join(config.model_fields)}."
        problems.append(Problem(f"[{section}] {key}", "is not a setting.", hint))
    return problems


def _problem(error: ErrorDetails, config: type[ConnectionConfig], connection: str, section: str) -> Problem:
    name = str(error["loc"][0]) if error["loc"] else ""
    if name not in config.model_fields:
        return Problem(prefix_of(connection), error["msg"] + ".", "Check the settings of this connection.")
    setting = _setting(name, config.model_fields[name], connection)
    about = f"({setting.description})" if setting.description else ""
    if error["type"] == "missing":
        twin = f"Set it, or {setting.variable}_FILE, or {name} in [{section}]"
        return Problem(setting.variable, MISSING, f"{twin}. {about}".strip())
    what = error["msg"].removeprefix("Value error, ").rstrip(".")
    return Problem(setting.variable, f"is not usable: {what}.", about)


def _without(text: str, secrets: Iterable[object]) -> str:
    """Return ``text`` without the secrets: a plugin's own check may quote what it was given."""
    for part in sorted({part for secret in secrets for part in _parts(secret)}, key=len, reverse=True):
        text = text.replace(part, "***") if len(part) >= 4 else text
    return text


def _parts(secret: object) -> tuple[str, ...]:
    match secret:
        case str():
            return secret, *(part.strip() for part in secret.split(","))
        case list() | tuple():
            return tuple(part for each in secret for part in _parts(each))
        case _:
            return ()


def secrets_of(config: ConnectionConfig) -> tuple[str, ...]:
    """Return every secret value, for redaction."""
    found: list[str] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        parts = value if isinstance(value, tuple) else (value,)
        found += [part.get_secret_value() for part in parts if isinstance(part, SecretStr)]
    return tuple(secret for secret in found if secret)


def masked(config: ConnectionConfig) -> dict[str, str]:
    """Return the settings as an operator may see them: of a secret its last four characters, if it is long."""
    return {name: _mask(getattr(config, name)) for name in type(config).model_fields}


def masked_secret(plain: str) -> str:
    """Return a secret as an operator may see it."""
    return f"…{plain[-4:]}" if len(plain) >= 16 else "set" if plain else "not set"


def _mask(value: object) -> str:
    match value:
        case SecretStr():
            return masked_secret(value.get_secret_value())
        case tuple():
            return ", ".join(_mask(part) for part in value) or "not set"
        case dict():
            return ", ".join(f"{key}={item}" for key, item in value.items())
        case None:
            return "not set"
        case _:
            return str(value)
