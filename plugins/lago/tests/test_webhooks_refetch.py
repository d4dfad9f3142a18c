"""What a webhook could only name is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from billhook.errors import Permanent, Temporary
from billhook.events import (
    CreditNoteIssued,
    Event,
    InvoiceFinalized,
    InvoiceObserved,
    Refetch,
    SubscriptionEnded,
    SubscriptionSuperseded,
)
from billhook.hookspecs import ConnectionContext
from billhook.money import Money
from billhook.provider import WebhookSource
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.sandbox import LagoSandbox
from billhook_lago.webhooks import LagoWebhooks, lago_webhooks

Connect = Callable[..., ConnectionContext]


@pytest.fixture
def source(connect: Connect) -> LagoWebhooks:
    return lago_webhooks(connect())


def _heard(
    sandbox: LagoSandbox, receiver: Any, source: LagoWebhooks, webhook_type: str
) -> list[Event | Refetch]:
    sandbox.deliver_webhooks()
    bodies = [body for body in receiver.bodies if json.loads(body)["webhook_type"] == webhook_type]
    return [fact for body in bodies for fact in source.parse(body)]


def _looked(source: LagoWebhooks, facts: Sequence[Event | Refetch]) -> list[Event]:
    return [event for fact in facts if isinstance(fact, Refetch) for event in source.refetch(fact)]


def _subscribe(story: Any, plan: str) -> dict[str, Any]:
    terms = {"external_customer_id": "acct_1", "plan_code": plan, "external_id": "sub.1"}
    return dict(story.ok("POST", "/subscriptions", {"subscription": terms}))


def test_the_old_half_of_an_upgrade_is_superseded(
    story: Any, sandbox: LagoSandbox, receiver: Any, source: LagoWebhooks
) -> None:
    old = _subscribe(story, "starter")
    _subscribe(story, "pro")
    (fact,) = _looked(source, _heard(sandbox, receiver, source, "subscription.terminated"))
    assert isinstance(fact, SubscriptionSuperseded)
    assert (fact.ref.id, fact.plan, fact.at) == (old["lago_id"], "starter", sandbox.world.now())


def test_a_termination_is_an_end(
    story: Any, sandbox: LagoSandbox, receiver: Any, source: LagoWebhooks
) -> None:
    row = _subscribe(story, "pro")
    story.ok("DELETE", "/subscriptions/sub.1")
    (fact,) = _looked(source, _heard(sandbox, receiver, source, "subscription.terminated"))
    assert isinstance(fact, SubscriptionEnded)
    assert (fact.ref.id, fact.at) == (row["lago_id"], sandbox.world.now())


def test_a_new_agreement_under_an_old_id_does_not_undo_the_end(
    story: Any, sandbox: LagoSandbox, receiver: Any, source: LagoWebhooks, clock: Any
) -> None:
    _subscribe(story, "pro")
    story.ok("DELETE", "/subscriptions/sub.1")
    facts = _heard(sandbox, receiver, source, "subscription.terminated")
    clock.advance(timedelta(days=40))
    _subscribe(story, "starter")
    assert isinstance(_looked(source, facts)[0], SubscriptionEnded)


def test_a_row_that_lago_still_calls_active_is_asked_about_later(story: Any, source: LagoWebhooks) -> None:
    row = _subscribe(story, "pro")
    hints = {"lago_id": row["lago_id"], "customer_id": "acct_1", "plan": "pro", "ended_at": "", "reason": ""}
    with pytest.raises(Temporary, match="it is active"):
        source.refetch(Refetch(kind="subscription_end", id="sub.1", hints=hints))


def test_an_outage_while_looking_is_not_an_end(
    story: Any, sandbox: LagoSandbox, source: LagoWebhooks
) -> None:
    sandbox.faults.add(Fault(FaultKind.UNAVAILABLE))
    hints = {"lago_id": "x", "customer_id": "acct_1", "plan": "pro", "ended_at": "", "reason": ""}
    with pytest.raises(Temporary):
        source.refetch(Refetch(kind="subscription_end", id="sub.1", hints=hints))


def test_an_invoice_and_a_credit_note_are_looked_at(
    story: Any, sandbox: LagoSandbox, source: LagoWebhooks
) -> None:
    invoice = sandbox.issue_invoice("acct_1", 4900, taxes_cents=980)
    final, seen, _ = source.refetch(Refetch(kind="invoice", id=invoice["lago_id"]))
    assert isinstance(final, InvoiceFinalized)
    assert isinstance(seen, InvoiceObserved)
    assert (final.due, seen.due) == (5880, 5880)
    items = [{"fee_id": invoice["fees"][0]["lago_id"], "amount_cents": 100}]
    note = {"invoice_id": invoice["lago_id"], "items": items, "credit_amount_cents": 120}
    created = story.ok("POST", "/credit_notes", {"credit_note": note})
    (issued,) = source.refetch(Refetch(kind="credit_note", id=created["lago_id"]))
    assert isinstance(issued, CreditNoteIssued)
    assert (issued.amount, issued.refund, issued.refund_status) == (Money(120, "EUR"), 0, None)


def test_a_thing_of_another_kind_cannot_be_looked_at(source: LagoWebhooks) -> None:
    with pytest.raises(Permanent, match="spaceship"):
        source.refetch(Refetch(kind="spaceship", id="1"))


def test_an_answer_that_is_not_an_invoice_is_permanent(connect: Connect) -> None:
    def odd(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b'{"invoice": {"status": "finalized", "lago_id": 1}}']

    with pytest.raises(Permanent, match="lago_id"):
        lago_webhooks(connect(app=odd)).refetch(Refetch(kind="invoice", id="1"))


def test_it_is_a_webhook_source(source: LagoWebhooks) -> None:
    assert isinstance(source, WebhookSource)
    assert source.connection == "lago"
