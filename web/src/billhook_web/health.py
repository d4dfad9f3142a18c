"""``/healthz``: this process answers. ``/readyz``: it can do its work, with every check by name."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from billhook.plugins import PluginStatus
from billhook_web import broker
from billhook_web.db import DatabaseError
from billhook_web.runtime import Runtime
from billhook_web.stores import conditions, schema, vitals

_BROKEN = (PluginStatus.ERROR, PluginStatus.INCOMPATIBLE, PluginStatus.MISSING)


def health_blueprint(runtime: Runtime) -> Blueprint:
    """Return the routes that load balancers and people ask."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        """A plugin that is out costs only its own connections: it is shown, and the host stays ready."""
        checks = _checks(runtime)
        ready = all(check["ok"] for check in checks.values())
        troubles = _troubles(runtime)
        status = "unready" if not ready else "degraded" if troubles else "ok"
        response = jsonify(status=status, checks=checks, troubles=troubles)
        response.status_code = 200 if ready else 503
        return response

    return blueprint


def _checks(runtime: Runtime) -> dict[str, dict[str, Any]]:
    reachable = runtime.db.reachable()
    return {
        "database": _check(reachable, "It does not answer; see BILLHOOK_DATABASE_URL."),
        "queue": _check(broker.answers(runtime.broker), "It does not answer; see BILLHOOK_REDIS_URL."),
        "migrations": _check(
            reachable and _is_current(runtime), "The tables are not up to date; run 'billhook db upgrade'."
        ),
    }


def _is_current(runtime: Runtime) -> bool:
    try:
        return schema.is_current(runtime.db)
    except DatabaseError:
        return False


def _check(ok: bool, fix: str) -> dict[str, Any]:
    return {"ok": True} if ok else {"ok": False, "detail": fix}


def _troubles(runtime: Runtime) -> list[dict[str, Any]]:
    """Name what is out. Why it is out is for operators: this page asks nobody who they are."""
    connections = [
        {"connection": each.name, "plugin": each.plugin}
        for each in runtime.connections.all()
        if each.problem is not None
    ]
    used = {each["plugin"] for each in connections}
    plugins = [
        {"plugin": state.name}
        for state in runtime.registry.states()
        if state.status in _BROKEN and state.name not in used
    ]
    return [*connections, *plugins, *_ailing(runtime), *_unknown(runtime)]


def _ailing(runtime: Runtime) -> list[dict[str, Any]]:
    """Connections whose provider is ``down``, whose plugin is ``failing``, whose settings are ``stale``: others work on."""
    now = runtime.clock.now()
    try:
        with runtime.db.read() as tx:
            known = conditions.of_all(tx)
    except DatabaseError:
        return []  # the checks say so
    found = {
        each.name: known[each.name].trouble(now) for each in runtime.connections.all() if each.name in known
    }
    return [{"connection": name, "state": trouble} for name, trouble in found.items() if trouble]


def _unknown(runtime: Runtime) -> list[dict[str, Any]]:
    """Outcomes that nobody knows for longer than the deadline; which ones they are is for operators."""
    deadline = runtime.configuration.host.patience_with_unknown()
    try:
        with runtime.db.read() as tx:
            overdue = vitals.unknown(tx, now=runtime.clock.now(), deadline=deadline).overdue
    except DatabaseError:
        return []  # the checks say so
    return [{"effects": "unknown_too_long", "count": overdue}] if overdue else []
