"""How an account stands, in the customer's words: whether the product may be used, what is owed, what comes next.

The decision says what is so; its sentences are for operators. Here it is said what the customer has to know: the day,
the amount, and what keeps it from getting worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from billhook.access import Access
from billhook.model import Invoice, PaymentStatus
from billhook.money import Money
from billhook_web.pages.words import Words
from billhook_web.stores.access import Stored

_URGENCY: Final = ("failed", "past_due", "open", "processing")
DUE: Final = frozenset({"past_due", "failed"})
"""The statuses of invoices that somebody has to do something about now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """An unpaid invoice. ``amount``: what is open; ``status`` names a badge of ``portal/parts.html``."""

    invoice: Invoice
    amount: Money
    status: str
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """The one thing to know first. ``pays``: the invoice its button leads to; None: it has no button."""

    tone: str
    icon: str
    title: str
    text: str
    pays: Owed | None = None


def owed(invoice: Invoice, *, now: datetime) -> Owed:
    """Say how an unpaid invoice stands."""
    overdue = invoice.due_on is not None and invoice.due_on < now.date()
    match invoice.payment_status:
        case PaymentStatus.PROCESSING:
            status = "processing"
        case PaymentStatus.FAILED:
            status = "failed"
        case _ if overdue:
            status = "past_due"
        case _:
            status = "open"
    return Owed(
        invoice=invoice, amount=Money(invoice.balance, invoice.currency), status=status, overdue=overdue
    )


def in_order(debts: Iterable[Owed]) -> list[Owed]:
    """Put first what somebody has to do something about, the longest due first; last what is being paid already."""
    return sorted(debts, key=lambda each: (_URGENCY.index(each.status), each.invoice.due_on or date.max))


def banner(debts: Sequence[Owed], access: Stored | None, words: Words) -> Banner | None:
    """Say the most urgent thing; None: nothing is urgent.

    What is lost comes before what is owed, and what is owed before what will come.
    """
    body = access.body if access else {}
    due = [each for each in debts if each.status in DUE]
    first = due[0] if due else None
    match body.get("access"):
        case Access.NONE if due and body["since"]:
            title = words.say("Access is paused since %(day)s", day=_day(words, body["since"]))
            text = words.say("Pay what is open, and everything is back within a minute, just as you left it.")
            return Banner(tone="bad", icon="lock", title=title, text=f"{_sum(due, words)} {text}", pays=first)
        case Access.LIMITED if due and body["since"]:
            title = words.say("Your account is limited since %(day)s", day=_day(words, body["since"]))
            text = words.say("Everything works again within a minute of paying.")
            return Banner(
                tone="bad",
                icon="lock",
                title=title,
                text=f"{_sum(due, words)} {text}{_next(body, words)}",
                pays=first,
            )
        case _ if first is not None:
            return _owing(first, due, body, words)
        case _:
            return None


def sentence(access: Stored | None, words: Words, *, told: Banner | None) -> str | None:
    """Say whether the product may be used, and what comes next unless a banner has told it; None: nobody knows."""
    if access is None or access.body["since"] is None:
        return None
    ahead = "" if told else _next(access.body, words)
    match access.body["access"]:
        case Access.FULL:
            return words.say("Everything in your plan works.") + ahead
        case Access.LIMITED:
            return words.say("Parts of your plan don’t work at the moment.") + ahead
        case _:
            return words.say("Your access is off since %(day)s.", day=_day(words, access.body["since"]))


def _owing(first: Owed, due: Sequence[Owed], body: Any, words: Words) -> Banner:
    if first.status == "failed":
        title = words.say("We couldn’t collect %(amount)s", amount=words.money(first.amount))
    else:
        title = words.say("%(amount)s is past due", amount=words.money(first.amount))
    return Banner(
        tone="bad",
        icon="triangle-alert",
        title=title,
        text=f"{_sum(due, words)}{_next(body, words)}",
        pays=first,
    )


def _sum(due: Sequence[Owed], words: Words) -> str:
    if len(due) > 1:
        return words.count("%(num)s invoice is unpaid.", "%(num)s invoices are unpaid.", len(due))
    invoice = due[0].invoice
    if invoice.due_on is None:
        return words.say("Invoice %(number)s is unpaid.", number=invoice.number or invoice.ref.id)
    return words.say(
        "Invoice %(number)s was due on %(day)s.",
        number=invoice.number or invoice.ref.id,
        day=words.day(invoice.due_on),
    )


def _next(body: Any, words: Words) -> str:
    """Say what it comes to when nothing is done, after a space; empty when it gets no worse."""
    after = body.get("next")
    if after is None or _rank(after["access"]) >= _rank(body["access"]):
        return ""
    day = _day(words, body["next_change_at"])
    if after["access"] == Access.NONE:
        return " " + words.say("If nothing is paid, access pauses on %(day)s.", day=day)
    return " " + words.say("If nothing is paid, your account is limited from %(day)s.", day=day)


def _rank(access: str) -> int:
    return Access(access).rank


def _day(words: Words, written: str) -> str:
    return words.day(datetime.fromisoformat(written))
