"""What the views work with: the runtime and the wake-up calls of the application that answers, and who is calling."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar

from flask import Flask, current_app, g, request

from billhook_web.actors import Wake
from billhook_web.auth import ALL, SCOPES, authorize
from billhook_web.db import Tx
from billhook_web.runtime import Runtime
from billhook_web.stores import audit

MAX_BODY: Final = 256 * 1024
"""Larger bodies are answered 413. The largest that makes sense is a customer with every field."""

_EXTENSION: Final = "billhook"
View = TypeVar("View", bound=Callable[..., Any])
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Host:
    """The host behind the API."""

    runtime: Runtime
    wake: Wake


def install_host(app: Flask, host: Host) -> None:
    """Make ``host`` the one that the views of ``app`` work with."""
    app.extensions[_EXTENSION] = host


def host() -> Host:
    """Return the host of the application that answers this request."""
    found: Host = current_app.extensions[_EXTENSION]
    return found


def runtime() -> Runtime:
    """Return the runtime of the application that answers this request."""
    return host().runtime


def needs(scope: str, *, largest: int = MAX_BODY) -> Callable[[View], View]:
    """Let in only callers whose key has ``scope``; asked before anything of the request is read.

    :param largest: bytes a body may have.
    """
    if scope not in SCOPES:
        raise ValueError(f"{scope!r} is no scope")

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            request.max_content_length = largest
            key = authorize(runtime(), request.headers.get("Authorization"), scope=scope)
            g.scopes, g.key_id, g.key_name = key.scopes, key.id, key.name
            return view(*args, **kwargs)

        described = deepcopy(getattr(view, "_apidoc", {}))
        described["manual_doc"] = {
            **described.get("manual_doc", {}),
            "operationId": view.__name__,
            "security": [{"bearer": [scope]}],
            "responses": {"401": "UNAUTHORIZED", "403": "FORBIDDEN"},
        }
        guarded._apidoc = described  # type: ignore[attr-defined]  # where flask-smorest keeps it
        return guarded  # type: ignore[return-value]  # same signature as the view's

    return decorate


def note_action(tx: Tx, action: str, subject: object, **detail: Any) -> None:
    """Write into the audit what the caller does, in the transaction that does it."""
    audit.add(tx, at=runtime().clock.now(), actor=actor(), action=action, subject=subject, detail=detail)


def actor() -> str:
    """Return who is calling, as the audit names them."""
    return f"key:{g.key_id} {g.key_name}"


def ask(connection: str, call: Callable[[], Answer]) -> Answer:
    """Call a provider for the caller, who waits: at once refused, with a time to come back, while it is down."""
    return runtime().breakers.ask(connection, call)


def may(scope: str) -> bool:
    """Say whether the caller also has ``scope``."""
    return scope in g.scopes or ALL in g.scopes
