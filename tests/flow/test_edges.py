"""What goes wrong, comes twice or comes sideways: the books stay right and nothing is charged twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from billhook.model import PaymentStatus, SubscriptionStatus
from billhook.testing.sandbox import Fault, FaultKind
from billhook_web.stores import billing, inbox
from tests.flow.flow import Flow
from tests.flow.test_collecting import an_invoice, only_checkout


def statuses(flow: Flow) -> dict[str, set[str]]:
    """The states of every agreement's rows."""
    with flow.runtime.db.read() as tx:
        rows = billing.subscriptions.all(tx)
    return {
        row.external_id: {str(each.status) for each in rows if each.external_id == row.external_id}
        for row in rows
    }


def test_fifty_copies_at_once_are_one_row_and_one_checkout(flow: Flow) -> None:
    flow.lago.webhooks.hold = True
    flow.api("PUT", "/customers/acct_1", name="Ada")
    flow.settle()
    flow.lago.issue_invoice("acct_1", 12000)
    told: list[tuple[bytes, Any]] = []
    plain = flow.post
    flow.post = lambda connection, body, headers: told.append((body, headers)) or 200  # type: ignore[method-assign, func-returns-value]  # a tape
    flow.lago.webhooks.hold = False
    flow.lago.deliver_webhooks()
    flow.post = plain  # type: ignore[method-assign]  # the tape is full
    ((body, headers),) = [each for each in told if b"invoice.created" in each[0]]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: plain("lago", body, headers), range(50)))
    assert set(answers) == {200}
    flow.settle()
    with flow.runtime.db.read() as tx:
        assert len(inbox.page(tx, type="invoice.created")) == 1
    assert len(flow.dodo.checkouts) == 1


def test_a_charge_whose_answer_is_lost_is_looked_up_and_never_repeated(flow: Flow) -> None:
    flow.api("PUT", "/customers/acct_1", name="Ada", email="ada@acme.example")
    flow.settle()
    flow.dodo.authorise_mandate(email="ada@acme.example", metadata={"lago_customer_id": "acct_1"})
    flow.settle()
    charged_before = len(flow.dodo.payments)
    flow.dodo.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST", path="/charge"))
    invoice = flow.lago.issue_invoice("acct_1", 12000)
    flow.settle()
    for _ in range(4):
        flow.skip(timedelta(minutes=2))
    assert len(flow.dodo.payments) == charged_before + 1
    assert flow.invoice(invoice["lago_id"]).balance == 0
    assert len(flow.lago.payments) == 1
    assert flow.dead() == []


def test_a_provider_that_is_down_delays_and_loses_nothing(flow: Flow) -> None:
    flow.dodo.faults.add(Fault(kind=FaultKind.UNAVAILABLE, times=5))
    invoice = an_invoice(flow)
    assert flow.dodo.checkouts == []
    for _ in range(8):
        flow.skip(timedelta(minutes=2))
    flow.dodo.pay(only_checkout(flow)["session_id"])
    flow.lago.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST", path="payments"))
    flow.settle()
    for _ in range(4):
        flow.skip(timedelta(minutes=2))
    assert [payment["amount_cents"] for payment in flow.lago.payments] == [12000]
    assert flow.invoice(invoice["lago_id"]).payment_status is PaymentStatus.SUCCEEDED
    assert flow.dead() == []


def test_a_payment_that_brings_another_amount_is_flagged_and_settles_nothing(flow: Flow) -> None:
    invoice = an_invoice(flow)
    session = only_checkout(flow)["session_id"]
    payment = flow.dodo.pay(session)
    event = {**payment, "total_amount": 9999, "settlement_amount": 9999}
    flow.dodo.hooks.emit("payment.succeeded", "Payment", lambda: event)
    sender = flow.dodo.sender
    assert sender is not None
    sender._queue = sender._queue[1:]  # the true one never leaves
    flow.settle()
    ours = flow.invoice(invoice["lago_id"])
    assert "amount_mismatch" in ours.flags
    assert ours.balance == 12000
    assert flow.lago.payments == []


def test_an_invoice_with_a_native_provider_is_only_watched(flow: Flow) -> None:
    flow.api("PUT", "/customers/acct_1", name="Ada")
    flow.settle()
    invoice = flow.lago.issue_invoice("acct_1", 12000)
    body = {**invoice, "customer": {**invoice["customer"]}}
    body["customer"]["billing_configuration"] = {
        **invoice["customer"]["billing_configuration"],
        "payment_provider": "stripe",
    }
    flow.lago.webhooks._queue.clear()
    flow.lago.send("invoice.created", body)
    flow.settle()
    assert flow.invoice(invoice["lago_id"]).collected_by_engine
    assert flow.dodo.checkouts == []


def test_a_retry_in_the_billing_engine_asks_us_to_collect_again(flow: Flow) -> None:
    invoice = an_invoice(flow)
    flow.dodo.decline(only_checkout(flow)["session_id"], code="STOLEN_CARD")
    flow.settle()
    answer = flow.lago_client().post("invoices", invoice["lago_id"], "retry_payment")
    assert answer.ok
    flow.settle()
    assert len(flow.dodo.checkouts) == 2
    flow.dodo.pay(flow.dodo.checkouts[1]["session_id"])
    flow.settle()
    assert flow.lago.invoices[0]["payment_status"] == "succeeded"


def test_an_upgrade_supersedes_and_a_cancelled_downgrade_changes_nothing(flow: Flow) -> None:
    flow.lago.add_plan(code="basic", name="Basic", amount_cents=1000)
    flow.lago.add_plan(code="pro", name="Pro", amount_cents=4900)
    flow.api("PUT", "/customers/acct_1", name="Ada")
    flow.settle()
    flow.api("POST", "/subscriptions", customer="acct_1", plan="basic", id="main")
    flow.settle()
    flow.api("POST", "/subscriptions/lago:main/change-plan", plan="pro")
    flow.skip(timedelta(minutes=1))
    assert statuses(flow)["main"] == {"active", "superseded"}
    flow.api("POST", "/subscriptions/lago:main/change-plan", plan="basic")
    flow.skip(timedelta(minutes=1))
    assert flow.api("GET", "/subscriptions/lago:main")["next_plan"] == "basic"
    flow.api("POST", "/subscriptions/lago:main/cancel-pending-change")
    flow.settle()
    live = flow.api("GET", "/subscriptions/lago:main")
    assert (live["status"], live["plan"], live["next_plan"]) == (SubscriptionStatus.ACTIVE, "pro", None)
    flow.api("POST", "/subscriptions/lago:main/cancel", when="now")
    flow.settle()
    assert "ended" in statuses(flow)["main"]
    assert flow.dead() == []


def test_a_conflict_at_the_billing_engine_is_shown_and_can_be_corrected(flow: Flow) -> None:
    an_invoice(flow)
    flow.api("PUT", "/customers/acct_1", currency="USD")
    flow.settle()
    (sync,) = flow.api("GET", "/customers/acct_1")["sync"]
    assert (sync["status"], sync["field"]) == ("conflict", "currency")
    tries = len(flow.lago.requests)
    flow.skip(timedelta(hours=3))
    assert len(flow.lago.requests) == tries
    flow.api("PUT", "/customers/acct_1", currency="EUR")
    flow.settle()
    (sync,) = flow.api("GET", "/customers/acct_1")["sync"]
    assert sync["status"] == "synced"


def test_without_a_licence_the_invoice_is_marked_and_what_that_costs_is_said(flow: Flow) -> None:
    flow.lago.set_premium(False)
    an_invoice(flow)
    flow.dodo.pay(only_checkout(flow)["session_id"])
    flow.settle()
    assert flow.lago.invoices[0]["payment_status"] == "succeeded"
    (record,) = flow.effects("record_payment")
    assert "licence" in (record.note or "")
    flow.dodo.refund(flow.dodo.payments[0]["payment_id"], 5000)
    flow.settle()
    assert flow.lago.credit_notes == []
    (note,) = flow.effects("issue_credit_note")
    assert "recorded here only" in (note.note or "")


def test_a_forged_and_an_unknown_delivery_leave_nothing_behind(flow: Flow) -> None:
    assert flow.post("lago", b"{}", {"X-Lago-Signature": "bm8="}) == 401
    assert flow.post("nobody", b"{}", {}) == 404
    assert flow.post("lago", b"x" * (1024 * 1024 + 1), {}) == 413
    with flow.runtime.db.read() as tx:
        assert inbox.counts(tx) == {}


def test_what_is_signed_and_cannot_be_read_is_kept_and_can_be_replayed(flow: Flow) -> None:
    from billhook.signing import HmacSha256

    body = b"{broken"
    signature = HmacSha256(["lago-sandbox-hmac-key"], encoding="base64").sign(body)
    assert flow.post("lago", body, {"X-Lago-Signature": signature, "X-Lago-Unique-Key": "k-1"}) == 200
    flow.settle()
    (event,) = flow.api("GET", "/events?status=dead")["data"]
    assert "not readable" in event["error"]
    flow.api("POST", f"/events/{event['id']}/replay")
    flow.settle()
    assert flow.api("GET", f"/events/{event['id']}")["status"] == "dead"


def test_a_credit_note_that_was_issued_and_not_closed_is_closed_later(flow: Flow) -> None:
    an_invoice(flow)
    payment = flow.dodo.pay(only_checkout(flow)["session_id"])
    flow.settle()
    flow.lago.faults.add(Fault(kind=FaultKind.UNAVAILABLE, method="PUT", path="credit_notes"))
    flow.dodo.refund(payment["payment_id"], 5000)
    flow.settle()
    assert [note["refund_status"] for note in flow.lago.credit_notes] == ["pending"]
    flow.skip(timedelta(minutes=1))
    assert [note["refund_status"] for note in flow.lago.credit_notes] == ["succeeded"]
    assert flow.dead() == []
