"""The API as a whole: its routes, its OpenAPI document, and the page that shows it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint as PageBlueprint
from flask import Flask, Response, jsonify, render_template
from flask_smorest import Api
from werkzeug.routing import BaseConverter

from billhook_web.actors import Wake
from billhook_web.api import (
    access,
    access_policies,
    access_previews,
    access_simulations,
    audit,
    connections,
    customers,
    effects,
    events,
    exemptions,
    invoices,
    payments,
    portal_sessions,
    reconcile,
    subscriptions,
    webhook_endpoints,
)
from billhook_web.api.host import Host, install_host
from billhook_web.api.operation_schemas import ProblemSchema
from billhook_web.auth import SCOPES
from billhook_web.problems import install_problems
from billhook_web.runtime import Runtime

TITLE = "Billhook"
VERSION = "v1"
PREFIX = f"/api/{VERSION}"

CONTENT_POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
"""The page loads nothing from elsewhere and runs nothing inline; Swagger UI's icons are data URLs in its CSS."""

_ABOUT = """\
Amounts are whole minor units with their currency, times are UTC. A provider's thing is addressed by its ref,
`<connection>:<provider id>` (percent-encode slashes), a customer by your own id. Lists are newest first; pass
`next_cursor` as `cursor` for the next page. Errors are problems (RFC 9457) with every wrong field in `errors`."""


class AnyText(BaseConverter):
    """The rest of the path up to the next known word: ids may hold slashes, dots and colons, percent-encoded."""

    regex = r"[\s\S]+?"
    part_isolating = False
    weight = 200


class _Api(Api):
    """Documents errors as problems; does not take over the application's error handling, which has pages too."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Leave it to :mod:`billhook_web.problems`, which keeps the headers and other people's pages."""

    def _register_responses(self) -> None:
        names = {status.name: status.phrase for status in HTTPStatus} | {"DEFAULT_ERROR": "A problem."}
        for name, description in names.items():
            content = {"application/problem+json": {"schema": ProblemSchema}}
            self.spec.components.response(name, {"description": description, "content": content}, lazy=True)


def register_api(app: Flask, runtime: Runtime, wake: Wake) -> None:
    """Add API v1, its document and its page to ``app``, and give all of the app its error handling."""
    install_host(app, Host(runtime, wake))
    install_problems(app, runtime)
    app.url_map.converters["any_text"] = AnyText
    app.url_map.merge_slashes = False  # an id may begin with a slash, or have two
    api = _Api(app, spec_kwargs=_spec())
    api.register_converter(AnyText, lambda _converter: {"type": "string", "minLength": 1})
    for part in (
        customers,
        subscriptions,
        invoices,
        payments,
        portal_sessions,
        events,
        effects,
        reconcile,
        connections,
        audit,
        webhook_endpoints,
        access,
        access_simulations,
        access_policies,
        access_previews,
        exemptions,
    ):
        api.register_blueprint(part.blueprint, url_prefix=PREFIX)
    app.register_blueprint(_pages(api))


def _spec() -> dict[str, Any]:
    scopes = "\n".join(f"- `{scope}`: {about}" for scope, about in SCOPES.items())
    bearer = {"type": "http", "scheme": "bearer", "description": f"An API key. Scopes:\n\n{scopes}"}
    return {
        "title": TITLE,
        "version": VERSION,
        "openapi_version": "3.1.0",
        "info": {"description": _ABOUT},
        "servers": [{"url": "/"}],  # wherever this was read: the page may talk to nobody else
        "components": {"securitySchemes": {"bearer": bearer}},
    }


def _pages(api: _Api) -> PageBlueprint:
    pages = PageBlueprint("api_reference", __name__)

    @pages.get(f"{PREFIX}/openapi.json")
    def document() -> Response:
        return jsonify(api.spec.to_dict())

    @pages.get("/api/docs")
    def page() -> Response:
        response = Response(render_template("api_docs.html", title=f"{TITLE} API"))
        response.headers["Content-Security-Policy"] = CONTENT_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return pages
