"""What changed in the host and reached the providers, as seen from outside: the API, and the sandboxes' own books."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from billhook.money import Money
from billhook.testing.story import Call
from billhook_web.demo.api import Api
from billhook_web.demo.casting import Cast
from billhook_web.demo.telling import News

Plain = Mapping[str, Any]

PARTS: Final = {
    "payments": "payment",
    "refunds": "refund",
    "disputes": "dispute",
    "credit-notes": "credit",
    "mandates": "mandate",
}
"""Lists of the API that hang on invoices and customers, and how one of each is called here."""

READS: Final = frozenset({"GET", "HEAD"})
LONGEST_NOTE: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Everything at one moment: rows of the host by id or ref, and how many calls each sandbox had."""

    events: Mapping[int, Plain]
    effects: Mapping[int, Plain]
    invoices: Mapping[str, Plain]
    parts: Mapping[str, tuple[str, Plain]]
    customers: Mapping[str, Plain]
    calls: Mapping[str, int]


def look(api: Api, cast: Cast) -> Look:
    """Look at everything now."""
    return Look(
        events={row["id"]: row for row in api.rows("events")},
        effects={row["id"]: row for row in api.rows("effects")},
        invoices={row["ref"]: row for row in api.rows("invoices")},
        parts={row["ref"]: (kind, row) for name, kind in PARTS.items() for row in api.rows(name)},
        customers={row["id"]: row for row in api.rows("customers")},
        calls={role.name: len(role.story.calls()) for role in cast.roles},
    )


def news(before: Look, after: Look, api: Api, cast: Cast) -> list[News]:
    """Say what is different: received, stored, sent, and what had to happen."""
    return [
        *_received(before, after, api),
        *_stored(before, after),
        *_sent(before, after, cast),
        *_effects(before, after),
    ]


def _received(before: Look, after: Look, api: Api) -> Iterator[News]:
    for event_id in sorted(after.events.keys() - before.events.keys()):
        row = after.events[event_id]
        facts = [str(fact["type"]) for fact in api.get("events", str(event_id))["facts"]]
        told = ", ".join(facts) or "nothing new"
        yield News(label="received", where=row["connection"], what=row["type"], after=told, weak=not facts)


def _stored(before: Look, after: Look) -> Iterator[News]:
    for customer_id, row in sorted(after.customers.items()):
        if row["sync"] != before.customers.get(customer_id, {}).get("sync"):
            states = ", ".join(f"{sync['connection']}: {sync['status']}" for sync in row["sync"])
            yield News(label="stored", where="customer", what=customer_id, after=states)
    for ref, row in sorted(after.invoices.items()):
        now = _standing(row)
        if ref not in before.invoices or now != _standing(before.invoices[ref]):
            yield News(label="stored", where="invoice", what=str(row["number"]), after=now)

    for ref, (kind, row) in sorted(after.parts.items()):
        now = _state(row)
        if ref not in before.parts or now != _state(before.parts[ref][1]):
            yield News(label="stored", where=kind, what=ref, after=now)


def _state(part: Plain) -> str:
    """Say how a payment, refund, dispute, credit note or mandate stands."""
    status = part.get("status") or f"refund {part.get('refund_status')}"
    amount = part.get("amount")
    return f"{status} · {Money(amount['amount'], amount['currency'])}" if amount else str(status)


def _standing(invoice: Plain) -> str:
    """Say how an invoice stands."""
    currency = invoice["currency"]
    paid, balance = (Money(invoice[name], currency) for name in ("paid", "balance"))
    words = [str(invoice["payment_status"]), f"paid {paid}", f"open {balance}"]
    return " · ".join(words + (["disputed"] if invoice["disputed"] else []))


def _sent(before: Look, after: Look, cast: Cast) -> Iterator[News]:
    for role in cast.roles:
        calls = role.story.calls()[before.calls[role.name] : after.calls[role.name]]
        writes = [call for call in calls if call.method not in READS]
        for call, times in _runs(writes):
            notes = [f"Idempotency-Key: {call.key}"] * bool(call.key) + [f"{times} times"] * (times > 1)
            what = f"{call.method} {call.path}"
            yield News(label="sent", where=role.name, what=what, beside=", ".join(notes))
        if reads := _reads(calls):
            yield News(label="sent", where=role.name, what=reads, weak=True)


def _runs(calls: Iterable[Call]) -> Iterator[tuple[Call, int]]:
    """Yield each run of equal calls with its length."""
    for call, equal in groupby(calls):
        yield call, len(list(equal))


def _reads(calls: Sequence[Call]) -> str:
    count = sum(1 for call in calls if call.method in READS)
    return f"{count} {'look' if count == 1 else 'looks'} (GET)" if count else ""


def _effects(before: Look, after: Look) -> Iterator[News]:
    for effect_id, row in sorted(after.effects.items()):
        known = before.effects.get(effect_id)
        if known is not None and _progress(known) == _progress(row):
            continue
        yield News(label="effects", where="", what=str(row["key"]), after=_outcome(row))


def _progress(effect: Plain) -> tuple[Any, ...]:
    return effect["status"], effect["attempt_count"]


def _outcome(effect: Plain) -> str:
    status, tries = str(effect["status"]), int(effect["attempt_count"])
    if status == "pending" and not tries:
        return f"waits until {effect['due_at'][:16].replace('T', ' ')}"
    parts = [status] + ([f"{tries} tries"] if tries > 1 else [])
    detail = effect["error"] or effect["note"] or ""
    return " · ".join([*parts, *([_short(detail)] if detail else [])])


def _short(text: str) -> str:
    first = text.strip().splitlines()[-1]
    return first if len(first) <= LONGEST_NOTE else f"{first[: LONGEST_NOTE - 3]}..."
