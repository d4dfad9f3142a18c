"""What a route is: a method, a path, the shape of its body, and a function of the call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

from .errors import ApiError
from .records import Json
from .schema import Check
from .state import World
from .webhooks import Webhooks

PAGING = frozenset(("page_number", "page_size"))
CREATED = frozenset(("created_at_gte", "created_at_lte"))
MAX_PAGE_SIZE = 100


@dataclass(slots=True, kw_only=True)
class RecordedRequest:
    """One API request as it arrived. ``headers`` is case-insensitive and includes any Idempotency-Key."""

    method: str
    path: str
    query: dict[str, str]
    json: Json | None
    headers: Headers
    at: datetime
    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One API call after its checks: path parts, body and query are what the route declared."""

    world: World
    webhooks: Webhooks
    args: dict[str, str]
    json: Json
    query: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of the API. ``query`` names the parameters it knows; any other is refused."""

    method: str
    path: str
    handler: Callable[[Call], Json | Response]
    body: Check | None = None
    query: frozenset[str] = field(default_factory=frozenset)


def no_content() -> Response:
    """Return the bodiless 200 Dodo answers to changes that have nothing to say."""
    return Response(status=200)


def page_of(call: Call, rows: Iterable[Json]) -> Json:
    """Return one page, newest first; ``page_number`` counts from 0 and ``page_size`` is 10 unless told."""
    number = _count(call.query.get("page_number", "0"), "page_number")
    size = _count(call.query.get("page_size", "10"), "page_size")
    if size > MAX_PAGE_SIZE:
        raise _bad_query(f"page_size must be at most {MAX_PAGE_SIZE}")
    newest_first = list(rows)[::-1]
    return {"items": newest_first[number * size : (number + 1) * size]}


def keeps(call: Call, **facts: str | None) -> bool:
    """Say whether a row passes the call's equality filters; ``facts`` are the row's values by parameter name."""
    return all(call.query.get(name) in (None, value) for name, value in facts.items())


def created_in_range(call: Call, created_at: datetime) -> bool:
    """Say whether ``created_at`` is inside ``created_at_gte`` and ``created_at_lte`` (both inclusive)."""
    earliest, latest = call.query.get("created_at_gte"), call.query.get("created_at_lte")
    if earliest is not None and created_at < _moment(earliest):
        return False
    return latest is None or created_at <= _moment(latest)


def check_query(route: Route, query: dict[str, str]) -> None:
    """Refuse parameters the operation does not document, which Dodo ignores, and instants nobody can read."""
    unknown = sorted(query.keys() - route.query)
    if unknown:
        raise _bad_query(f"unknown parameter {', '.join(unknown)}")
    for name in CREATED & query.keys():
        _moment(query[name])


def _count(value: str, name: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise _bad_query(f"{name} must be a whole number")
    return int(value)


def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _bad_query(f"{value!r} is not an ISO 8601 instant") from None
    if moment.tzinfo is None:
        raise _bad_query(f"{value!r} has no time zone")
    return moment


def _bad_query(message: str) -> ApiError:
    return ApiError(422, "INVALID_QUERY_PARAMS", message)
