"""What is connected, what each connection can do, and whether it is set up well."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

from flask import Response, jsonify

from billhook import provider
from billhook.errors import NotFound, ProviderError, Refused, Unsupported
from billhook.notifier import ChannelInfo
from billhook.provider import Finding, ProviderInfo, Severity, SupportsCheck
from billhook_web.api import operation_serialise as serialise
from billhook_web.api.describing import page
from billhook_web.api.host import may, needs, runtime
from billhook_web.api.operation_schemas import CheckSchema, ConnectionSchema
from billhook_web.api.parsing import Blueprint
from billhook_web.services.connections import Connection
from billhook_web.stores import conditions
from billhook_web.stores.conditions import Condition

blueprint = Blueprint("connections", __name__, description="What is connected.")

OPERATIONS: dict[str, Any] = {
    re.sub(r"(?<=.)([A-Z])", r"_\1", name.removeprefix("Supports")).lower(): protocol
    for name, protocol in vars(provider).items()
    if name.startswith("Supports")
}
"""Every operation of the contract by its name: ``SupportsCreditNotes`` is ``credit_notes``."""


@blueprint.route("/connections")
@needs("connections:read")
@blueprint.response(200, page(ConnectionSchema))
def list_connections() -> Response:
    """List the connections in the order they were configured."""
    with runtime().db.read() as tx:
        known = conditions.of_all(tx)
    data = [_write(each, known.get(each.name)) for each in runtime().connections.all()]
    return jsonify(data=data, next_cursor=None)


@blueprint.route("/connections/<name>/check")
@needs("connections:read")
@blueprint.response(200, CheckSchema)
def check_connection(name: str) -> Response:
    """Have a connection look at its own set-up, by harmless calls."""
    connection = runtime().connections.get(name)
    if connection is None:
        raise NotFound("There is no such connection here.")
    findings = _findings(connection)
    return jsonify(
        connection=connection.name,
        ok=all(each.severity is not Severity.ERROR for each in findings),
        findings=[serialise.finding(each) for each in findings],
    )


def _findings(connection: Connection) -> list[Finding]:
    if connection.problem is not None:
        fix = "See 'billhook plugins list'."
        return [Finding(severity=Severity.ERROR, what=f"Its plugin is out: {connection.problem}", fix=fix)]
    checking = [each for each in _parts(connection) if isinstance(each, SupportsCheck)]
    if not checking:
        raise Unsupported("This connection cannot look at its own set-up.")
    hide = runtime().hide
    found = [finding for each in checking for finding in _look(each)]
    return [replace(each, what=hide(each.what), fix=hide(each.fix)) for each in found]


def _look(part: SupportsCheck) -> list[Finding]:
    try:
        return list(part.check())
    except (ProviderError, Refused) as exc:
        fix = "Check its address and credentials."
        return [Finding(severity=Severity.ERROR, what=f"It cannot be looked at: {exc}", fix=fix)]


def _write(connection: Connection, condition: Condition | None) -> dict[str, Any]:
    parts = _parts(connection)
    info: ProviderInfo | ChannelInfo | None = next((part.info for part in parts), None)
    traits = {name: value for name, value in asdict(info).items() if isinstance(value, bool)} if info else {}
    return serialise.connection(
        connection,
        title=info.title if info else None,
        traits=traits,
        operations=[
            name for name, protocol in OPERATIONS.items() if any(isinstance(part, protocol) for part in parts)
        ],
        public_url=runtime().configuration.host.public_url,
        with_settings=may("admin"),
        condition=condition,
    )


def _parts(connection: Connection) -> list[Any]:
    """Return the connection's objects, each once: one object may play several parts."""
    unique: dict[int, Any] = {}
    for part in (connection.engine, connection.provider, connection.source, connection.channel):
        if part is not None:
            unique.setdefault(id(part), part)
    return list(unique.values())
