"""Dodo's lists compared with what is known, for finding out what its webhooks did not bring (they end after 28 hours).

Rows of lists leave things out (a payment's tax, a refund's history), so a row only shows whether something is new; then
the thing itself is fetched. Dodo filters by creation and not by change, so each list reaches back as long as such a
thing may still change. Subscriptions are listed as a whole: a mandate changes for as long as it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from billhook.errors import Permanent
from billhook.events import DisputeChanged, Event, MandateChanged, PaymentEvent, Refetch, RefundChanged
from billhook.provider import ReconcilePage, ReconcileWindow, Sighting

from .client import PAGE, DodoApi, readable
from .facts import Reader
from .payloads import Json, instant

Known = Sequence[Event]


@dataclass(frozen=True, slots=True)
class _Section:
    """One list. ``reach``: how long before the window a thing may have been created; None: however long."""

    kind: str
    path: str
    reach: timedelta | None
    read: Callable[[Reader, Json], Sequence[Event]]
    is_known: Callable[[Event, Known], bool]


def pages_of(api: DodoApi, reader: Reader, window: ReconcileWindow) -> Iterator[ReconcilePage]:
    """Yield one page for each call; the cursor is ``<kind>:<page>``.

    :raises Permanent: the cursor is none of ours.
    """
    kinds = list(SECTIONS)
    kind, number = _place(window.cursor)
    for at in range(kinds.index(kind), len(kinds)):
        section, more = SECTIONS[kinds[at]], True
        while more:
            rows = api.page(section.path, params=_created(section, window), number=number)
            with readable(f"the list of {section.path}"):
                sightings = [each for row in rows for each in _sightings(section, reader, row)]
            more, number = len(rows) == PAGE, number + 1
            onward = (
                f"{kinds[at]}:{number}" if more else f"{kinds[at + 1]}:0" if at + 1 < len(kinds) else None
            )
            yield ReconcilePage(sightings=sightings, cursor=onward)
        number = 0


def _place(cursor: str | None) -> tuple[str, int]:
    kind, _, number = (cursor or f"{next(iter(SECTIONS))}:0").partition(":")
    if kind not in SECTIONS or not number.isdecimal():
        raise Permanent("the place to go on from is none of Dodo's; begin the reconciliation anew")
    return kind, int(number)


def _created(section: _Section, window: ReconcileWindow) -> dict[str, str | int]:
    if section.reach is None:
        return {}
    until = {"created_at_lte": window.until.isoformat()}
    if window.since is None:
        return {**until}
    return {**until, "created_at_gte": (window.since - section.reach).isoformat()}


def _sightings(section: _Section, reader: Reader, row: Json) -> Iterator[Sighting]:
    """Read a row; one that means nothing to us (a payment nobody has begun, no mandate) gives nothing."""
    facts = section.read(reader, row)
    if not facts:
        return
    ref = facts[0].ref

    def news(known: Known) -> Sequence[Event | Refetch]:
        return [] if section.is_known(facts[0], known) else [Refetch(kind=section.kind, id=ref.id)]

    yield Sighting(kind=section.kind, ref=ref, changed_at=instant(row, "created_at"), news=news)


def _payment_is_known(seen: Event, known: Known) -> bool:
    return any(isinstance(fact, PaymentEvent) and fact.type == seen.type for fact in known)


def _last_is(seen: Event, known: Known) -> bool:
    """Say whether the last we heard of the thing has it in the state it is in."""
    told = [fact for fact in known if fact.type == seen.type and fact.at is not None]
    last = max(told, key=lambda fact: fact.at, default=None)  # type: ignore[arg-type,return-value]  # all have a time
    return last is not None and _state(last) == _state(seen)


def _state(fact: Event) -> tuple[object, ...]:
    match fact:
        case RefundChanged():
            return (fact.status,)
        case DisputeChanged():
            return fact.status, fact.stage, fact.resolved_by_refund
        case MandateChanged():
            return fact.status, fact.method
        case _:
            return (fact.type,)


SECTIONS: Final[Mapping[str, _Section]] = {
    "payment": _Section(
        "payment",
        "payments",
        timedelta(days=14),  # a bank debit fails, or succeeds, within two weeks
        lambda reader, row: reader.payment(row, sent_at=None),
        _payment_is_known,
    ),
    "refund": _Section(
        "refund",
        "refunds",
        timedelta(days=14),
        lambda reader, row: [reader.refund(row, sent_at=None)],
        _last_is,
    ),
    "dispute": _Section(
        "dispute",
        "disputes",
        timedelta(days=120),  # the banks take months
        lambda reader, row: reader.dispute(row, sent_at=None),
        _last_is,
    ),
    "mandate": _Section(
        "mandate", "subscriptions", None, lambda reader, row: reader.mandate(row, sent_at=None), _last_is
    ),
}
