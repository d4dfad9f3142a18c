"""Lago's answers: JSON bodies under a root key, pages, and error bodies with ``code`` and ``error_details``.

The error shapes follow Lago's API controllers: 400 and 401 carry no ``code``; 405 is a business rule, not a wrong
verb (a wrong verb is a 404 ``resource_not_found``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Response

from billhook_lago.sandbox.state import Json
from billhook_lago.sandbox.wire import rails_json

_TITLES = {422: "Unprocessable Entity"}  # Python 3.13 renamed it; Rails did not


class ApiError(Exception):
    """An error answer of the API."""

    def __init__(
        self,
        status: int,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.details = details
        self.error = error or _TITLES.get(status) or HTTPStatus(status).phrase
        super().__init__(f"{status} {code or self.error}")

    def answer(self) -> Response:
        """Return it as Lago words it."""
        body: Json = {"status": self.status, "error": self.error}
        if self.code is not None:
            body["code"] = self.code
        if self.details is not None:
            body["error_details"] = dict(self.details)
        return json_answer(body, status=self.status)


def not_found(resource: str) -> ApiError:
    """Return a 404 ``<resource>_not_found``."""
    return ApiError(404, code=f"{resource}_not_found")


def invalid(**fields: str) -> ApiError:
    """Return a 422 ``validation_errors`` with one code per field."""
    return ApiError(422, code="validation_errors", details={name: [code] for name, code in fields.items()})


def not_allowed(code: str) -> ApiError:
    """Return a 405: a business rule forbids it in this state."""
    return ApiError(405, code=code)


def feature_unavailable() -> ApiError:
    """Return a 403: the instance has no premium licence."""
    return ApiError(403, code="feature_unavailable")


def bad_request(message: str) -> ApiError:
    """Return a 400; it has no ``code``."""
    return ApiError(400, error=f"BadRequest: {message}")


def json_answer(body: Json, *, status: int = 200) -> Response:
    """Return ``body`` as Rails renders it."""
    return Response(rails_json(body), status=status, content_type="application/json; charset=utf-8")


def rooted(root: str, body: Any) -> Response:
    """Return ``body`` under Lago's root key."""
    return json_answer({root: body})


def paged(root: str, rows: Sequence[Json], query: Mapping[str, str]) -> Response:
    """Return one page of ``rows`` with ``meta``; ``page`` from 1, ``per_page`` 100 unless asked otherwise."""
    page, size = _positive(query, "page", 1), _positive(query, "per_page", 100)
    pages = -(-len(rows) // size)
    meta = {
        "current_page": page,
        "next_page": page + 1 if page < pages else None,
        "prev_page": page - 1 if page > 1 else None,
        "total_pages": pages,
        "total_count": len(rows),
    }
    return json_answer({root: list(rows[(page - 1) * size : page * size]), "meta": meta})


def _positive(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else default
