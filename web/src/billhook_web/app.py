"""The Flask application: which routes exist. Everything it needs comes as an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from billhook_web.actors import Wake
from billhook_web.api import register_api
from billhook_web.db import statements_within
from billhook_web.health import health_blueprint
from billhook_web.logs import WSGIApplication
from billhook_web.metrics import metrics_blueprint
from billhook_web.pages import install_pages
from billhook_web.pay import pay_blueprint
from billhook_web.portal import register_portal, visitors
from billhook_web.runtime import Runtime
from billhook_web.webhooks import webhooks_blueprint
from billhook_web.well_known import well_known_blueprint

STATEMENT_SECONDS = 15.0
"""How long one statement of a request may take on PostgreSQL. Work in the background and migrations have no such limit."""


def create_app(runtime: Runtime, wake: Wake, *, statement_seconds: float = STATEMENT_SECONDS) -> Flask:
    """Return the host as a WSGI application."""
    app = Flask("billhook_web")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.register_blueprint(webhooks_blueprint(runtime, wake))
    app.register_blueprint(pay_blueprint(runtime, visitors(runtime)))
    app.register_blueprint(health_blueprint(runtime))
    app.register_blueprint(metrics_blueprint(runtime))
    app.register_blueprint(well_known_blueprint(runtime))
    install_pages(app, runtime)
    register_portal(app, runtime)
    register_api(app, runtime, wake)
    app.wsgi_app = _limited(app.wsgi_app, statement_seconds)  # type: ignore[method-assign, assignment]  # how Flask wants it to be wrapped
    return app


def _limited(app: WSGIApplication, seconds: float) -> WSGIApplication:
    """Let no statement for somebody who waits take longer than this: it is answered 503."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with statements_within(seconds):
            return app(environ, start_response)

    return wrapped


def create_operations_app(runtime: Runtime) -> Flask:
    """Return what a process without the host's routes answers: whether it is well, and its metrics."""
    app = Flask("billhook_web")
    app.register_blueprint(health_blueprint(runtime))
    app.register_blueprint(metrics_blueprint(runtime))
    return app
