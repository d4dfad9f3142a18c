"""The Flask application: which routes exist. Everything it needs comes as an argument."""

from __future__ import annotations

from flask import Flask

from billhook_web.actors import Wake
from billhook_web.api import register_api
from billhook_web.health import health_blueprint
from billhook_web.metrics import metrics_blueprint
from billhook_web.pay import pay_blueprint
from billhook_web.runtime import Runtime
from billhook_web.webhooks import webhooks_blueprint


def create_app(runtime: Runtime, wake: Wake) -> Flask:
    """Return the host as a WSGI application."""
    app = Flask("billhook_web")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.register_blueprint(webhooks_blueprint(runtime, wake))
    app.register_blueprint(pay_blueprint(runtime))
    app.register_blueprint(health_blueprint(runtime))
    app.register_blueprint(metrics_blueprint(runtime))
    register_api(app, runtime, wake)
    return app


def create_operations_app(runtime: Runtime) -> Flask:
    """Return what a process without the host's routes answers: whether it is well, and its metrics."""
    app = Flask("billhook_web")
    app.register_blueprint(health_blueprint(runtime))
    app.register_blueprint(metrics_blueprint(runtime))
    return app
