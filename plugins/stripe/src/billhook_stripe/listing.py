"""What Stripe holds compared with what is known, for finding out what its webhooks did not bring.

Stripe keeps every event for 30 days: read again, they give the very facts that the webhooks would have given. What is
older is listed as it stands now: payments, refunds, disputes, and the set-ups by which methods were saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import stripe

from billhook.errors import Permanent
from billhook.events import (
    DisputeChanged,
    Event,
    MandateChanged,
    PaymentEvent,
    Refetch,
    RefundChanged,
)
from billhook.provider import ReconcilePage, ReconcileWindow, Sighting

from .client import PAGE, StripeApi, plain, readable
from .facts import Reader
from .payloads import Json, instant, maybe_text

Known = Sequence[Event]
Tell = Callable[[Json], Sequence[Event | Refetch]]

EVENTS_KEPT: Final = timedelta(days=30)
_EVENTS: Final = "event"
_OVERLAP: Final = timedelta(hours=1)  # an event may be listed a little after the moment it is dated to


@dataclass(frozen=True, slots=True)
class _Section:
    """One list of things as they stand now. ``reach``: how long a thing may change after it was created."""

    kind: str
    reach: timedelta
    page: Callable[[StripeApi, Any], stripe.ListObject[Any]]
    read: Callable[[Reader, Json], Sequence[Event]]


def pages_of(api: StripeApi, reader: Reader, tell: Tell, window: ReconcileWindow) -> Iterator[ReconcilePage]:
    """Yield one page for each call; the cursor is ``<list>:<id of its last row>``.

    :raises Permanent: the cursor is none of ours.
    """
    names = _lists(window)
    name, after = _place(window.cursor, names)
    for at in range(names.index(name), len(names)):
        more = True
        while more:
            rows, more = _page(api, names[at], window, after)
            with readable(f"the list of {names[at]}s"):
                sightings = [each for row in rows for each in _sightings(names[at], reader, tell, row)]
            after = str(rows[-1]["id"]) if more else ""
            following = f"{names[at + 1]}:" if at + 1 < len(names) else None
            yield ReconcilePage(sightings=sightings, cursor=f"{names[at]}:{after}" if more else following)


def _lists(window: ReconcileWindow) -> list[str]:
    """Return what to list: the events alone, when they reach back far enough."""
    recent = window.since is not None and window.since - _OVERLAP > window.until - EVENTS_KEPT
    return [_EVENTS] if recent else [_EVENTS, *SECTIONS]


def _place(cursor: str | None, names: list[str]) -> tuple[str, str]:
    name, colon, after = (cursor or f"{names[0]}:").partition(":")
    if name not in names or not colon:
        raise Permanent("the place to go on from is none of Stripe's; begin the reconciliation anew")
    return name, after


def _page(api: StripeApi, name: str, window: ReconcileWindow, after: str) -> tuple[list[Json], bool]:
    params: dict[str, Any] = {"limit": PAGE, "created": _created(name, window)}
    if after:
        params["starting_after"] = after
    with api.answers():
        page = api.v1.events.list(params) if name == _EVENTS else SECTIONS[name].page(api, params)  # type: ignore[arg-type]  # the params of every list
        rows = [plain(each) for each in page.data]
    return rows, bool(page.has_more) and bool(rows)


def _created(name: str, window: ReconcileWindow) -> dict[str, int]:
    limits = {"lte": _seconds(window.until)}
    if window.since is not None:
        reach = _OVERLAP if name == _EVENTS else SECTIONS[name].reach
        limits["gte"] = _seconds(window.since - reach)
    return limits


def _seconds(moment: datetime) -> int:
    return max(0, int(moment.timestamp()))


def _sightings(name: str, reader: Reader, tell: Tell, row: Json) -> Iterator[Sighting]:
    """Read a row; one that means nothing to us (a payment nobody has tried) gives nothing."""
    if name == _EVENTS:
        yield from _from_event(tell, row)
        return
    section = SECTIONS[name]
    facts = section.read(reader, row)
    if facts:
        yield _as_it_stands(section, facts[0], row)


def _from_event(tell: Tell, row: Json) -> Iterator[Sighting]:
    for fact in tell(row):
        if isinstance(fact, Refetch):
            continue  # more about a payment, or the refunds of a charge: their own events say enough
        yield Sighting(kind=_kind(fact), ref=fact.ref, changed_at=fact.at, news=partial(_said, fact))


def _said(fact: Event, _: Known) -> Sequence[Event | Refetch]:
    return [fact]


def _as_it_stands(section: _Section, seen: Event, row: Json) -> Sighting:
    thing = maybe_text(row, "id") or ""

    def news(known: Known) -> Sequence[Event | Refetch]:
        return [] if _is_known(seen, known) else [Refetch(kind=section.kind, id=thing)]

    return Sighting(kind=_kind(seen), ref=seen.ref, changed_at=instant(row, "created"), news=news)


def _kind(fact: Event) -> str:
    match fact:
        case RefundChanged():
            return "refund"
        case DisputeChanged():
            return "dispute"
        case MandateChanged():
            return "mandate"
        case _:
            return "payment"


def _is_known(seen: Event, known: Known) -> bool:
    """Say whether we heard of the thing in the state it is in."""
    if isinstance(seen, PaymentEvent):
        return any(fact.type == seen.type for fact in known)
    if isinstance(seen, MandateChanged):
        return any(isinstance(fact, MandateChanged) for fact in known)  # what became of it since, events say
    told = [fact for fact in known if fact.type == seen.type and fact.at is not None]
    last = max(told, key=lambda fact: fact.at, default=None)  # type: ignore[arg-type,return-value]  # all have a time
    return last is not None and _status(last) == _status(seen)


def _status(fact: Event) -> object:
    return fact.status if isinstance(fact, RefundChanged | DisputeChanged) else None


SECTIONS: Final[Mapping[str, _Section]] = {
    "payment": _Section(
        "payment",
        timedelta(days=30),  # a bank debit answers, or a customer pays late
        lambda api, params: api.v1.payment_intents.list(params),
        lambda reader, row: reader.payment(row, at=None),
    ),
    "refund": _Section(
        "refund",
        timedelta(days=30),
        lambda api, params: api.v1.refunds.list(params),
        lambda reader, row: reader.refund(row, at=None),
    ),
    "dispute": _Section(
        "dispute",
        timedelta(days=120),  # the banks take months
        lambda api, params: api.v1.disputes.list(params),
        lambda reader, row: reader.dispute(row, at=None),
    ),
    "setup": _Section(
        "setup",
        timedelta(days=1),
        lambda api, params: api.v1.setup_intents.list(params),
        lambda reader, row: reader.set_up(row, at=None),
    ),
}
