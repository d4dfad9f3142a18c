"""The second act: customers keep payment methods in the portal, and are charged without being there.

A payment provider whose form stands in our own pages collects. A bank debit takes days and may still fail; then it must
show that nobody was told "paid" too early, that no second payment was begun meanwhile, and that a new card settles it.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

from billhook.model import PaymentStatus
from billhook.money import Money
from billhook.testing.story import KeepingStory, StoryMeans
from billhook_web.demo.access_story import DAY, DEBIT, activate, expect_access
from billhook_web.demo.play import NAMES, NotFoundOnStage, Play
from billhook_web.demo.visitor import Page, Visitor

BILL: Final = Money(12_000, "EUR")
WHO: Final = "acct_gil"
METHODS: Final = "/portal/payment-methods"


def debit_is_refused_days_later(play: Play) -> None:
    """A debit counts as paid while it is on its way; refused, the invoice is overdue since its original date."""
    story = _keeper(play)
    play.act(
        "A policy is activated: a bank debit counts as paid for seven days", lambda: activate(play, DEBIT)
    )
    play.act(f"PUT /api/v1/customers/{WHO}", lambda: play.register(WHO))
    saved = _save(play, "saves a bank account in the portal", StoryMeans.REFUSED_ACCOUNT)
    play.expect("the page says what was saved, by its last digits", "ending 3001" in saved.text)
    invoice_id = play.bill(WHO, BILL)
    play.expect("nobody was asked: the debit is on its way", _state(play, invoice_id), ("processing", 12_000))
    play.act("The customer is impatient, opens the pay link and clicks", lambda: _click(play, invoice_id))
    play.expect("no second payment was begun", len(story.payments()), 1)
    play.skip("Two days pass: the invoice is overdue, the debit still on its way", 2 * DAY)
    expect_access(play, WHO, "the customer keeps the product", ("clear", "full"))
    play.skip("The bank refuses the debit", story.debit_takes - 2 * DAY + timedelta(minutes=1))
    play.expect(
        "the host has the invoice as failed, all of it open", _state(play, invoice_id), ("failed", 12_000)
    )
    theirs = play.engine_invoice(invoice_id)
    told = (theirs.payment_status, theirs.paid)
    play.expect("so has the billing engine", told, (PaymentStatus.FAILED, Money(0, "EUR")))
    expect_access(play, WHO, "and the customer is past due since the original date", ("past_due", "full"))


def new_card_settles_it(play: Play) -> None:
    """A new card, added in the portal, is charged at once for what the debit left open, and once only."""
    story, invoice_id = _keeper(play), play.engine.story.invoices()[-1].id
    saved = _save(play, "adds a card in the portal", StoryMeans.CARD)
    play.expect("the page says that the invoice is tried again", "unpaid invoice again" in saved.text)
    play.expect_paid(invoice_id)
    keys = sorted(attempt["key"] for attempt in play.invoice(invoice_id)["attempts"])
    first = f"{play.engine.name}-inv-{invoice_id}"
    play.expect("the card had a key of its own", keys, [first, f"{first}-attempt-2"])
    expect_access(play, WHO, "the customer is clear again", ("clear", "full"))
    play.skip("A week passes; the retry that was planned finds nothing to do", 7 * DAY)
    taken = [each.amount for each in story.payments() if each.succeeded]
    play.expect("money moved once", taken, [BILL])


STEPS: Final = (
    ("A bank debit is on its way for days, and is refused", debit_is_refused_days_later),
    ("A new card pays at once what the debit could not", new_card_settles_it),
)


def _keeper(play: Play) -> KeepingStory:
    story = play.payment.story
    if not isinstance(story, KeepingStory):
        raise NotFoundOnStage(f"{story.title} keeps no payment methods in our pages.")
    return story


def _save(play: Play, text: str, means: StoryMeans) -> Page:
    """Let the customer go through the portal as a browser does; return the last page they see."""
    story = _keeper(play)

    def go() -> Page:
        asked = {"customer": WHO, "page": "payment-methods"}
        visitor = Visitor(play.stage.url)
        visitor.enter(play.api.post("portal-sessions", json=asked)["url"])
        form = visitor.open(f"{METHODS}/new")
        begun = visitor.send(form.about["begin"], csrf_token=form.token, form=form.about["form"], default="1")
        after: str = _answer(begun)["after"]
        story.fill_in(after.rpartition("/")[2], means)
        return visitor.open(after)

    return play.act(f"{NAMES[WHO]} {text}", go)


def _answer(page: Page) -> dict[str, Any]:
    """Read what only the page's script is told."""
    answer: dict[str, Any] = json.loads(page.text)
    return answer


def _click(play: Play, invoice_id: str) -> None:
    play.api.visit(play.invoice(invoice_id)["pay_url"], method="POST")


def _state(play: Play, invoice_id: str) -> tuple[str, int]:
    ours = play.invoice(invoice_id)
    return ours["payment_status"], ours["balance"]
