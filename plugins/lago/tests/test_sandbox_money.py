"""Invoices, payments and credit notes in the sandbox: the rules and refusals Billhook depends on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import Client

from billhook.clock import VirtualClock


@pytest.fixture
def invoice_id(story: Any) -> str:
    invoice = story.sandbox.issue_invoice("acct_1", 10_000, taxes_cents=2_000)
    story.heard()
    return str(invoice["lago_id"])


def _pay(api: Any, invoice_id: str, cents: int, reference: str = "pay_1") -> dict[str, Any]:
    body = {"invoice_id": invoice_id, "amount_cents": cents, "reference": reference}
    return api.ok("POST", "/payments", {"payment": body})


def _status(api: Any, invoice_id: str, status: str) -> dict[str, Any]:
    return api.ok("PUT", f"/invoices/{invoice_id}", {"invoice": {"payment_status": status}})


def _credit(api: Any, invoice_id: str, cents: int, **split: int) -> dict[str, Any]:
    fee = api.ok("GET", f"/invoices/{invoice_id}")["fees"][0]["lago_id"]
    items = [{"fee_id": fee, "amount_cents": cents}]
    return {"credit_note": {"invoice_id": invoice_id, "items": items, **split}}


def test_a_part_payment_is_silent_and_the_last_one_settles(story: Any, invoice_id: str) -> None:
    _pay(story, invoice_id, 5_000)
    assert story.heard() == []
    assert story.ok("GET", f"/invoices/{invoice_id}")["total_due_amount_cents"] == 7_000
    _pay(story, invoice_id, 7_000)
    assert story.heard() == ["invoice.payment_status_updated"]
    assert story.ok("GET", f"/invoices/{invoice_id}")["payment_status"] == "succeeded"


def test_two_payments_with_one_reference_both_count(story: Any, invoice_id: str) -> None:
    _pay(story, invoice_id, 1_000)
    _pay(story, invoice_id, 1_000)
    assert story.ok("GET", f"/invoices/{invoice_id}")["total_paid_amount_cents"] == 2_000


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"amount_cents": 12_001}, (422, {"amount_cents": ["value_is_out_of_range"]})),
        ({"amount_cents": 0}, (422, {"amount_cents": ["value_is_out_of_range"]})),
        ({"amount_cents": "12"}, (422, {"amount_cents": ["value_is_invalid"]})),
        ({"reference": "x" * 41}, (422, {"reference": ["value_is_too_long"]})),
        ({"reference": None}, (422, {"reference": ["value_is_mandatory"]})),
        ({"invoice_id": "nope"}, (404, "invoice_not_found")),
        ({"note": "hi"}, (422, {"note": ["is_not_permitted"]})),
    ],
)
def test_a_payment_that_breaks_a_rule_is_refused(
    story: Any, invoice_id: str, change: dict[str, Any], refusal: Any
) -> None:
    body = {"invoice_id": invoice_id, "amount_cents": 1, "reference": "pay_1", **change}
    assert story.refused("POST", "/payments", {"payment": body}) == refusal
    assert story.sandbox.payments == []


def test_without_a_licence_payments_and_credit_notes_are_forbidden(story: Any, invoice_id: str) -> None:
    story.sandbox.set_premium(False)
    body = {"payment": {"invoice_id": invoice_id, "amount_cents": 1, "reference": "r"}}
    assert story.refused("POST", "/payments", body) == (403, "feature_unavailable")
    note = _credit(story, invoice_id, 1_000, credit_amount_cents=1_200)
    assert story.refused("POST", "/credit_notes", note) == (403, "feature_unavailable")
    del note["credit_note"]["credit_amount_cents"]
    assert story.refused("POST", "/credit_notes/estimate", note) == (403, "feature_unavailable")
    assert _status(story, invoice_id, "succeeded")["payment_status"] == "succeeded"


def test_a_bare_payment_status_leaves_the_amounts_and_so_the_refund_is_refused(
    story: Any, invoice_id: str
) -> None:
    paid = _status(story, invoice_id, "succeeded")
    assert (paid["payment_status"], paid["total_due_amount_cents"]) == ("succeeded", 12_000)
    note = _credit(story, invoice_id, 1_000, refund_amount_cents=1_200)
    refusal = story.refused("POST", "/credit_notes", note)
    assert refusal == (422, {"refund_amount_cents": ["cannot_refund_unpaid_invoice"]})


def test_any_payment_status_may_follow_any_and_only_changes_are_announced(
    story: Any, invoice_id: str
) -> None:
    for status in ("succeeded", "succeeded", "failed", "pending"):
        _status(story, invoice_id, status)
    assert story.heard() == ["invoice.payment_status_updated"] * 3


def test_a_refund_within_what_was_paid_stays_pending_until_closed(story: Any, invoice_id: str) -> None:
    _pay(story, invoice_id, 12_000)
    story.heard()
    note = story.ok("POST", "/credit_notes", _credit(story, invoice_id, 1_000, refund_amount_cents=1_200))
    assert (note["refund_status"], note["taxes_amount_cents"]) == ("pending", 200)
    assert story.heard() == ["credit_note.created"]
    body = {"credit_note": {"refund_status": "succeeded"}}
    assert story.ok("PUT", f"/credit_notes/{note['lago_id']}", body)["refund_status"] == "succeeded"
    assert story.heard() == []


def test_credit_note_amounts_must_match_and_stay_below_what_was_paid(story: Any, invoice_id: str) -> None:
    _pay(story, invoice_id, 5_000)
    off = _credit(story, invoice_id, 1_000, refund_amount_cents=1_000)
    assert story.refused("POST", "/credit_notes", off) == (422, {"base": ["does_not_match_item_amounts"]})
    high = _credit(story, invoice_id, 5_000, refund_amount_cents=6_000)
    wanted = {"refund_amount_cents": ["higher_than_remaining_invoice_amount"]}
    assert story.refused("POST", "/credit_notes", high) == (422, wanted)
    within_a_cent = _credit(story, invoice_id, 1_000, refund_amount_cents=1_201)
    assert story.ok("POST", "/credit_notes", within_a_cent)["refund_amount_cents"] == 1_201


def test_an_offset_lowers_what_is_due(story: Any, invoice_id: str) -> None:
    story.ok("POST", "/credit_notes", _credit(story, invoice_id, 10_000, offset_amount_cents=12_000))
    invoice = story.ok("GET", f"/invoices/{invoice_id}")
    assert (invoice["total_due_amount_cents"], invoice["payment_status"]) == (0, "succeeded")


def test_credit_is_spent_on_the_next_invoice_unless_voided(story: Any, invoice_id: str) -> None:
    first = story.ok("POST", "/credit_notes", _credit(story, invoice_id, 1_000, credit_amount_cents=1_200))
    story.ok("PUT", f"/credit_notes/{first['lago_id']}/void")
    story.ok("POST", "/credit_notes", _credit(story, invoice_id, 500, credit_amount_cents=600))
    assert story.sandbox.issue_invoice("acct_1", 1_000)["total_due_amount_cents"] == 400


def test_an_invoice_that_credit_covers_is_paid_at_once(story: Any, invoice_id: str) -> None:
    story.ok("POST", "/credit_notes", _credit(story, invoice_id, 1_000, credit_amount_cents=1_200))
    invoice = story.sandbox.issue_invoice("acct_1", 1_000)
    assert (invoice["total_due_amount_cents"], invoice["payment_status"]) == (0, "succeeded")


def test_a_retry_without_a_provider_answers_empty_and_asks_outside(
    story: Any, invoice_id: str, receiver: Any
) -> None:
    response = story("POST", f"/invoices/{invoice_id}/retry_payment")
    assert (response.status_code, response.data) == (200, b"")
    story.sandbox.deliver_webhooks()
    failure = receiver.last("invoice.payment_failure")
    assert failure["error_details"] == {"code": "customer_must_have_payment_provider"}
    _status(story, invoice_id, "succeeded")
    assert story.refused("POST", f"/invoices/{invoice_id}/retry_payment") == (405, "invalid_status")


def test_the_pdf_is_announced_and_then_served_without_a_key(story: Any, invoice_id: str) -> None:
    assert story("POST", f"/invoices/{invoice_id}/download").data == b""
    assert story.heard() == ["invoice.generated"]
    url = story.ok("POST", f"/invoices/{invoice_id}/download")["file_url"]
    response = Client(story.sandbox).get(url.removeprefix("http://localhost"))
    assert (response.content_type, response.data[:5]) == ("application/pdf", b"%PDF-")


def test_overdue_comes_after_the_due_day_and_goes_when_paid(
    story: Any, invoice_id: str, clock: VirtualClock
) -> None:
    clock.advance(timedelta(hours=23))
    assert story.sandbox.tick() == 0
    clock.advance(timedelta(hours=1))
    story.sandbox.tick()
    assert story.heard() == ["invoice.payment_overdue"]
    assert [row["lago_id"] for row in story.ok("GET", "/invoices?payment_overdue=true")["invoices"]] == [
        invoice_id
    ]
    assert _status(story, invoice_id, "succeeded")["payment_overdue"] is False


def test_a_lost_dispute_leaves_the_payment_as_it_was(story: Any, invoice_id: str, receiver: Any) -> None:
    _pay(story, invoice_id, 12_000)
    answer = story.ok("POST", f"/invoices/{invoice_id}/lose_dispute")
    assert (answer["payment_status"], answer["total_due_amount_cents"]) == ("succeeded", 0)
    story.sandbox.deliver_webhooks()
    lost = receiver.last("invoice.payment_dispute_lost")["invoice"]
    assert lost["payment_dispute_lost_at"] == "2026-07-01T00:00:00.000Z"
    assert story.refused("PUT", f"/invoices/{invoice_id}/lose_dispute") == (404, "resource_not_found")


def test_only_an_unpaid_invoice_is_voided(story: Any, invoice_id: str) -> None:
    other = story.sandbox.issue_invoice("acct_1", 100)["lago_id"]
    _pay(story, invoice_id, 1)
    assert story.refused("POST", f"/invoices/{invoice_id}/void") == (405, "not_voidable")
    story.heard()
    assert story.ok("POST", f"/invoices/{other}/void")["status"] == "voided"
    assert story.heard() == ["invoice.voided"]
    body = {"invoice": {"payment_status": "failed"}}
    assert story.refused("PUT", f"/invoices/{other}", body) == (405, "update_on_voided_invoice")


def test_a_grace_period_keeps_a_draft_that_takes_no_payment_status(story: Any, clock: VirtualClock) -> None:
    grace = {"external_id": "acct_1", "billing_configuration": {"invoice_grace_period": 3}}
    story.ok("POST", "/customers", {"customer": grace})
    invoice = story.sandbox.issue_invoice("acct_1", 100)
    assert invoice["status"] == "draft"
    body = {"invoice": {"payment_status": "failed"}}
    refusal = story.refused("PUT", f"/invoices/{invoice['lago_id']}", body)
    assert refusal == (405, "payment_status_update_on_draft_invoice")
    story.heard()
    clock.advance(timedelta(days=3))
    story.sandbox.tick()
    assert story.heard() == ["invoice.created"]


def test_invoices_are_filtered_and_paged(story: Any, invoice_id: str, clock: VirtualClock) -> None:
    clock.advance(timedelta(days=5))
    later = story.sandbox.issue_invoice("acct_1", 100)["lago_id"]
    window = story.ok("GET", "/invoices?issuing_date_from=2026-07-02&issuing_date_to=2026-07-06")
    assert [row["lago_id"] for row in window["invoices"]] == [later]
    assert "fees" not in window["invoices"][0]
    second = story.ok("GET", "/invoices?per_page=1&page=2")
    assert [row["lago_id"] for row in second["invoices"]] == [invoice_id]
    expected = {"current_page": 2, "next_page": None, "prev_page": 1, "total_pages": 2, "total_count": 2}
    assert second["meta"] == expected
    refusal = story.refused("GET", "/invoices?updated_since=2026-07-01")
    assert refusal == (422, {"updated_since": ["is_not_permitted"]})
