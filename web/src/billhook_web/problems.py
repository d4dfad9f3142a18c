"""Errors as RFC 9457 ``application/problem+json``: one shape for every refusal of the API."""

from __future__ import annotations

import json
from typing import Any

from flask import Response


def problem(status: int, title: str, detail: str = "", **members: Any) -> Response:
    """Return a problem: ``title`` names the kind, ``detail`` this case and the way out."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return Response(
        json.dumps(body, ensure_ascii=False), status=status, content_type="application/problem+json"
    )
