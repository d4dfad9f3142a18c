"""The ledger can be made anew from the inbox, and comes out equal; a defect in it is found and mended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from billhook_web.services.rebuild import Rebuilt, rebuild
from tests.flow.flow import Flow
from tests.flow.test_collecting import an_invoice, only_checkout


@pytest.fixture
def story(flow: Flow) -> Flow:
    tell(flow)
    return flow


def tell(flow: Flow) -> None:
    """Live through what does not come by webhook alone: refetches, refreshes, refunds we asked for."""
    invoice = an_invoice(flow)
    flow.dodo.decline(only_checkout(flow)["session_id"])
    flow.settle()
    flow.skip(timedelta(days=3))
    payment = flow.dodo.pay(flow.dodo.checkouts[1]["session_id"])
    flow.settle()
    flow.dodo.refund(payment["payment_id"], 2000)
    flow.settle()
    fee = flow.lago.invoices[0]["fees"][0]["lago_id"]
    note = {
        "invoice_id": invoice["lago_id"],
        "reason": "other",
        "refund_amount_cents": 3000,
        "items": [{"fee_id": fee, "amount_cents": 3000}],
    }
    assert flow.lago_client().post("credit_notes", json={"credit_note": note}).ok
    flow.settle()
    flow.lago.add_plan(code="basic", name="Basic", amount_cents=1000)
    flow.api("POST", "/subscriptions", customer="acct_1", plan="basic", id="main")
    flow.settle()
    flow.api("POST", "/subscriptions/lago:main/cancel", when="now")
    flow.settle()


def made_anew(flow: Flow, *, check: bool) -> Rebuilt:
    runtime = flow.runtime
    return rebuild(runtime.db, runtime.connections, runtime.recorder, runtime.judge, check=check)


def test_a_rebuild_is_equal_to_what_grew(story: Flow) -> None:
    before = story.books()
    result = made_anew(story, check=True)
    assert result.differences == ()
    assert (result.facts, result.unheard) == (len(before["facts"]), 0)
    assert made_anew(story, check=False).differences == ()
    assert story.books() == before


def test_a_defect_is_named_and_mended_and_nothing_happens_again(story: Flow) -> None:
    before = story.books()
    with story.runtime.db.begin() as tx:
        spoil = text("UPDATE invoices SET body = replace(body, :right, :wrong)")
        tx.execute(spoil, {"right": '"balance":0', "wrong": '"balance":7'})
        tx.execute(text("DELETE FROM facts WHERE type = 'payment.succeeded'"))
    found = {each.table for each in made_anew(story, check=True).differences}
    assert found - {"access_history"} == {
        "facts",
        "invoices",
    }  # which of one instant was first is in the facts
    assert story.books() != before
    made_anew(story, check=False)
    assert story.books() == before
    assert made_anew(story, check=True).differences == ()
    story.settle()
    assert story.books() == before
