"""Documenting refunds as Lago credit notes.

Lago wants a credit note as net amounts per fee and checks that, with tax, they equal what is given back, within a
cent. So what was refunded is shared out over the fees, Lago is asked what that comes to, and the shares are moved
until it agrees. Credit notes need a premium licence, and a payment that Lago counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from billhook.errors import Conflict, PayloadInvalid, Refused, Unsupported
from billhook.events import CreditNoteIssued
from billhook.model import Ref
from billhook.money import Money
from billhook.provider import CreditNoteRequest, Recorded
from billhook_lago.client import NO_LICENCE, LagoClient, readable
from billhook_lago.mapping import REFUND_KEY, credit_note, documented_refund
from billhook_lago.reading import Json, cents, cents_or, obj, obj_or_empty, rows, text, text_or_none

_REASONS: Final = frozenset(
    {"duplicated_charge", "product_unsatisfactory", "order_change", "order_cancellation", "fraudulent_charge"}
)
_NOT_REFUNDABLE: Final = frozenset({"cannot_refund_unpaid_invoice", "higher_than_remaining_invoice_amount"})
_ROUNDS: Final = 4

WITHOUT_LICENCE: Final = "recorded here only: Lago takes credit notes only with a premium licence, so its books still show the full payment"


@dataclass(frozen=True, slots=True)
class _Share:
    """The part of one fee that is given back: ``net`` of at most ``left``. ``net_total`` and ``gross_total`` are the
    whole fee without and with tax, all in minor units."""

    fee: str
    net: int
    left: int
    net_total: int
    gross_total: int

    def moved(self, gross: int) -> _Share:
        """Return the share changed by about ``gross``, staying within the fee."""
        moved = self.net + _rounded(gross * self.net_total, self.gross_total)
        return replace(self, net=min(self.left, max(0, moved)))


class CreditNotes:
    """The credit notes of one Lago organisation."""

    def __init__(self, connection: str, client: LagoClient, *, licence: str) -> None:
        self._connection = connection
        self._client = client
        self._licence = licence

    def issue(self, request: CreditNoteRequest) -> Recorded:
        """Document a refund that happened elsewhere, once: a note that names the refund is found again."""
        invoice = self._invoice(request.invoice)
        notes = self._notes_of(invoice)
        with readable():
            found = next((note for note in notes if documented_refund(note) == request.refund), None)
        if found is not None:
            return self._closed(found)
        if self._licence == "free":
            return Recorded(note=WITHOUT_LICENCE)
        try:
            shares = self._balanced(invoice, self._shares(invoice, notes, request.amount), request.amount)
            return self._closed(self._create(request, shares))
        except Unsupported as exc:
            if exc.code != NO_LICENCE or self._licence == "premium":
                raise
            return Recorded(note=WITHOUT_LICENCE)
        except Conflict as exc:
            if exc.code not in _NOT_REFUNDABLE:
                raise
            return Recorded(note=_not_refundable(exc.code))

    def close(self, note: Ref, *, succeeded: bool) -> Recorded:
        """Say how the refund a credit note asked for ended."""
        status = "succeeded" if succeeded else "failed"
        body = {"credit_note": {"refund_status": status}}
        answer = self._client.put("credit_notes", note.id, body=body)
        return Recorded(ref=note, facts=self._told(answer))

    def _told(self, answer: Json) -> Sequence[CreditNoteIssued]:
        """Read how the credit note stands now: Lago sends no webhook when its refund is closed."""
        try:
            return [credit_note(self._connection, obj(answer, "credit_note"))]
        except PayloadInvalid:  # it was taken; a short answer is no reason to fail
            return []

    def _invoice(self, ref: Ref) -> Json:
        answer = self._client.get("invoices", ref.id)
        with readable():
            return obj(answer, "invoice")

    def _notes_of(self, invoice: Json) -> list[Json]:
        """Return the invoice's credit notes. Lago filters by the invoice's number; older releases do not filter."""
        with readable():
            invoice_id, number = text(invoice, "lago_id"), text_or_none(invoice, "number")
            customer_id = text_or_none(obj_or_empty(invoice, "customer"), "external_id")
        params = {"external_customer_id": customer_id, "invoice_number": number}
        given = {name: value for name, value in params.items() if value is not None}
        notes = self._client.pages("credit_notes", "credit_notes", params=given)
        return [note for note in notes if note.get("lago_invoice_id") == invoice_id]

    def _shares(self, invoice: Json, notes: Sequence[Json], amount: Money) -> list[_Share]:
        """Share ``amount`` out over what is left of the fees, in proportion to it."""
        with readable():
            used = _credited(notes)
            whole = [_whole_share(fee, used) for fee in rows(invoice, "fees")]
        whole = [share for share in whole if share.left > 0]
        if not whole:
            raise Refused("no fee of the invoice is left to credit", code="nothing_left_to_credit")
        weights = [_rounded(share.left * share.gross_total, share.net_total) for share in whole]
        parts = amount.allocate(weights)
        return [share.moved(part.minor) for share, part in zip(whole, parts, strict=True)]

    def _balanced(self, invoice: Json, shares: list[_Share], amount: Money) -> list[_Share]:
        """Move the shares until Lago makes ``amount`` of them. Coupons and the rounding of tax are Lago's own."""
        best, off = shares, amount.minor
        for _ in range(_ROUNDS):
            short = amount.minor - self._estimated(invoice, shares)
            if abs(short) >= off:
                break  # a cent that no share can give goes back and forth
            best, off = shares, abs(short)
            if off == 0:
                break
            shares = _moved(shares, short)
        return best

    def _estimated(self, invoice: Json, shares: Sequence[_Share]) -> int:
        """Return what Lago makes of the shares, with tax and less coupons, in minor units."""
        body = {"credit_note": {"invoice_id": text(invoice, "lago_id"), "items": _items(shares)}}
        answer = self._client.post("credit_notes", "estimate", body=body)
        with readable():
            estimate = obj(answer, "estimated_credit_note")
            net = cents(estimate, "sub_total_excluding_taxes_amount_cents")
            return cents_or(estimate, "max_creditable_amount_cents", 0) or net + cents(
                estimate, "taxes_amount_cents"
            )

    def _create(self, request: CreditNoteRequest, shares: Sequence[_Share]) -> Json:
        note = {
            "invoice_id": request.invoice.id,
            "items": _items(shares),
            "reason": request.reason if request.reason in _REASONS else "other",
            "description": f"Refund {request.refund.id}",
            "credit_amount_cents": 0,
            "refund_amount_cents": request.amount.minor,
            "metadata": {REFUND_KEY: str(request.refund)},
        }
        answer = self._client.post("credit_notes", body={"credit_note": note}, moves_money=True)
        with readable():
            return obj_or_empty(answer, "credit_note")

    def _closed(self, note: Json) -> Recorded:
        """Say that the refund was made: Lago would show it as pending for ever."""
        with readable():
            note_id, status = text_or_none(note, "lago_id"), text_or_none(note, "refund_status")
        if note_id is None:  # it was taken, and nothing may fail after that
            return Recorded()
        ref = Ref(self._connection, note_id)
        return self.close(ref, succeeded=True) if status == "pending" else Recorded(ref=ref)


def _credited(notes: Sequence[Json]) -> dict[str, int]:
    """Return how much of each fee earlier credit notes took, net, in minor units."""
    used: dict[str, int] = {}
    for note in notes:
        for item in rows(note, "items"):
            fee = text(obj(item, "fee"), "lago_id")
            used[fee] = used.get(fee, 0) + cents(item, "amount_cents")
    return used


def _whole_share(fee: Json, used: dict[str, int]) -> _Share:
    fee_id, net = text(fee, "lago_id"), cents(fee, "amount_cents")
    left = max(0, net - used.get(fee_id, 0))
    gross = max(1, net + cents_or(fee, "taxes_amount_cents", 0))
    return _Share(fee=fee_id, net=0, left=left, net_total=max(1, net), gross_total=gross)


def _moved(shares: list[_Share], gross: int) -> list[_Share]:
    """Move the shares by ``gross`` in all: the first that can takes all it can."""
    moved: list[_Share] = []
    for share in shares:
        changed = share.moved(gross) if gross else share
        gross -= _rounded((changed.net - share.net) * share.gross_total, share.net_total)
        moved.append(changed)
    return moved


def _items(shares: Sequence[_Share]) -> list[dict[str, str | int]]:
    return [{"fee_id": share.fee, "amount_cents": share.net} for share in shares if share.net > 0]


def _rounded(numerator: int, denominator: int) -> int:
    """Divide, half a unit up; the denominator is positive."""
    return (2 * numerator + denominator) // (2 * denominator)


def _not_refundable(code: str | None) -> str:
    if code == "cannot_refund_unpaid_invoice":
        return (
            "recorded here only: Lago refuses to refund an invoice it counted no payment for "
            "(cannot_refund_unpaid_invoice), as one marked paid without a licence"
        )
    return f"recorded here only: Lago counted less paid than was refunded ({code})"
