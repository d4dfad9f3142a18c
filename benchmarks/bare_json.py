"""A bare Flask route that answers a constant JSON object, for comparison: the same server, no key, no database.

``python -m benchmarks.bare_json PORT THREADS`` serves until it is told to stop.
"""

from __future__ import annotations

import sys

from flask import Flask, Response, jsonify

from benchmarks.barest import serve


def application() -> Flask:
    """Return the WSGI application."""
    app = Flask("bare_json")

    @app.get("/api/v1/customers/<customer_id>/access")
    def access(customer_id: str) -> Response:
        return jsonify(customer=customer_id, state="active", access="full", version=1)

    return app


def main() -> None:
    """Serve."""
    serve("benchmarks.bare_json", int(sys.argv[1]), int(sys.argv[2]), application)


if __name__ == "__main__":
    main()
