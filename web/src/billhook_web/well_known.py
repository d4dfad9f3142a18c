"""``/.well-known/jwks.json``: the public keys that verify leases. Anybody may read them."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from billhook_web.runtime import Runtime
from billhook_web.services.leasing import PUBLISHED_FOR


def well_known_blueprint(runtime: Runtime) -> Blueprint:
    """Return the route that callers of ``?lease=1`` get their keys from."""
    blueprint = Blueprint("well_known", __name__)

    @blueprint.get("/.well-known/jwks.json")
    def jwks() -> Response:
        document = runtime.leasing.jwks(now=runtime.clock.now())
        response = jsonify(document)
        # No keys yet: who asks again may find some at any time.
        kept = f"public, max-age={PUBLISHED_FOR.total_seconds():.0f}" if document["keys"] else "no-store"
        response.headers["Cache-Control"] = kept
        return response

    return blueprint
