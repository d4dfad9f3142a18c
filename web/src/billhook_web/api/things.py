"""Reading the projections: one way to find a thing by its ref, and one way to list things, for every kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import Response

from billhook.errors import NotFound
from billhook.model import Ref, Subscription
from billhook_web.api.host import runtime
from billhook_web.api.paging import ByTime, answer_page, cut, encode, filter_text
from billhook_web.api.parsing import is_clean
from billhook_web.db import Tx
from billhook_web.stores import billing, lookup
from billhook_web.stores.billing import Filter, Projection

T = TypeVar("T")
Write = Callable[[Tx, Sequence[T]], list[dict[str, Any]]]


class ThingsQuery(ByTime):
    """What lists of providers' things filter by."""

    customer = filter_text("Your id of the customer.")
    connection = filter_text("The connection they came through.")


class InvoicePartsQuery(ThingsQuery):
    """What lists of things that hang on an invoice filter by."""

    invoice = filter_text("Ref of the invoice.")


def read_ref(text: str, what: str) -> Ref:
    """Read a ref of the path; raises :class:`NotFound`."""
    try:
        if is_clean(text):
            return Ref.parse(text)
    except ValueError:
        pass
    raise NotFound(f"That is no ref of {what}; write <connection>:<provider id>.")


def find(projection: Projection[T], text: str, what: str) -> T:
    """Return the thing with this ref; raises :class:`NotFound`."""
    with runtime().db.read() as tx:
        found = projection.get(tx, read_ref(text, what))
    if found is None:
        raise NotFound(f"There is no such {what} here.")
    return found


def find_subscription(text: str) -> Subscription:
    """Find a row by its ref, or the row that counts now by the agreement's id."""
    ref = read_ref(text, "subscription")
    with runtime().db.read() as tx:
        found = billing.subscriptions.get(tx, ref) or lookup.subscription_called(tx, ref.connection, ref.id)
    if found is None:
        raise NotFound("There is no such subscription here.")
    return found


def list_things(projection: Projection[T], kind: str, query: dict[str, Any], write: Write[T]) -> Response:
    """Answer a page of things of one ``kind``, newest first."""
    limit = query["limit"]
    wanted = Filter(
        customer_id=query["customer"],
        status=query.get("status"),
        connection=query["connection"],
        invoice=query.get("invoice"),
        since=query["since"],
        until=query["until"],
        after=query["cursor"],
        limit=limit + 1,
    )
    with runtime().db.read() as tx:
        shown, last = cut(projection.page(tx, wanted), limit)
        ref: Ref | None = getattr(last, "ref", None)
        cursor = None if ref is None else encode(lookup.placed_at(tx, kind, ref), str(ref))
        return answer_page(write(tx, shown), cursor)


def each(write: Callable[[T], dict[str, Any]]) -> Write[T]:
    """Return how to write many things that need nothing but themselves."""
    return lambda _tx, values: [write(value) for value in values]
