"""What Lago is told about money: payments, failures, refunds; with and without a licence, when answers get lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billhook.clock import VirtualClock
from billhook.errors import Conflict, NotFound, OutcomeUnknown, Refused, Temporary, Unsupported
from billhook.events import CustomerObserved, InvoiceFinalized, InvoiceObserved
from billhook.hookspecs import ConnectionContext
from billhook.model import (
    Customer,
    PaymentStatus,
    Ref,
)
from billhook.money import Money
from billhook.provider import (
    CreditNoteRequest,
    PaymentRecord,
)
from billhook.testing.connection import make_context
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.config import LagoConfig
from billhook_lago.provider import LagoEngine, lago_engine
from billhook_lago.sandbox import LagoSandbox

Connect = Callable[..., ConnectionContext]

PAID_AT = datetime(2026, 7, 1, 23, 30, tzinfo=UTC)


@pytest.fixture
def engine(connect: Connect, story: Any) -> LagoEngine:
    return lago_engine(connect())


@pytest.fixture
def invoice(story: Any, sandbox: LagoSandbox) -> dict[str, Any]:
    """A finalized invoice of 49.00 and 9.80 tax."""
    return dict(sandbox.issue_invoice("acct_1", 4900, taxes_cents=980))


def _ref(row: Mapping[str, Any]) -> Ref:
    return Ref("lago", row["lago_id"])


def _payment(invoice: Mapping[str, Any], cents: int = 5880, **over: Any) -> PaymentRecord:
    values: dict[str, Any] = {
        "invoice": _ref(invoice),
        "reference": "pay_1",
        "amount": Money(cents, "EUR"),
        "paid_at": PAID_AT,
        "look_first": False,
    }
    return PaymentRecord(**(values | over))


def _refund(invoice: Mapping[str, Any], cents: int, refund: str = "ref_1", **over: Any) -> CreditNoteRequest:
    values: dict[str, Any] = {
        "invoice": _ref(invoice),
        "refund": Ref("dodo", refund),
        "amount": Money(cents, "EUR"),
        "reason": "order_change",
        "look_first": False,
    }
    return CreditNoteRequest(**(values | over))


def _sent(sandbox: LagoSandbox, *methods: str) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in sandbox.requests if request.method in methods]


def _lose_answer(sandbox: LagoSandbox, method: str, path: str) -> None:
    sandbox.faults.add(Fault(FaultKind.LOST_ANSWER, method, path))


# --- payments ----------------------------------------------------------------------------------------------------


def _now(sandbox: LagoSandbox) -> dict[str, Any]:
    return dict(sandbox.invoices[-1])


def test_a_payment_is_entered_with_its_day_and_reference(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    recorded = engine.record_payment(_payment(invoice))
    (payment,) = sandbox.payments
    assert (recorded.ref, recorded.note) == (_ref(payment), None)
    assert (payment["reference"], payment["amount_cents"]) == ("pay_1", 5880)
    assert payment["created_at"].startswith("2026-07-01T")
    assert (_now(sandbox)["payment_status"], _now(sandbox)["total_paid_amount_cents"]) == ("succeeded", 5880)


def test_a_partial_payment_leaves_the_rest_due(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    engine.record_payment(_payment(invoice, 880))
    engine.record_payment(_payment(invoice, 1000, reference="pay_2"))
    assert (_now(sandbox)["payment_status"], _now(sandbox)["total_due_amount_cents"]) == ("pending", 4000)


def test_a_payment_whose_answer_was_lost_is_found_and_not_doubled(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    _lose_answer(sandbox, "POST", "/payments")
    with pytest.raises(OutcomeUnknown):
        engine.record_payment(_payment(invoice, 880))
    recorded = engine.record_payment(_payment(invoice, 880, look_first=True))
    (payment,) = sandbox.payments
    assert recorded.ref == _ref(payment)
    assert _sent(sandbox, "POST")[-1:] == [("POST", "/payments")]
    assert _now(sandbox)["total_due_amount_cents"] == 5000


def test_a_payment_that_never_arrived_is_entered_after_the_look(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    sandbox.faults.add(Fault(FaultKind.ERROR, "POST", "/payments"))
    with pytest.raises(OutcomeUnknown):
        engine.record_payment(_payment(invoice))
    engine.record_payment(_payment(invoice, look_first=True))
    assert len(sandbox.payments) == 1


def test_an_answer_that_does_not_name_the_payment_is_still_a_payment(
    connect: Connect, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    def curt(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        b"".join(sandbox(environ, lambda *_: lambda _: None))
        start_response("200 OK", [])
        return [b"{}"]

    assert lago_engine(connect(app=curt)).record_payment(_payment(invoice)).ref is None
    assert len(sandbox.payments) == 1


def test_a_reference_longer_than_lago_keeps_is_still_found(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    record = _payment(invoice, 880, reference="x" * 60)
    first = engine.record_payment(record)
    assert engine.record_payment(_payment(invoice, 880, reference="x" * 60, look_first=True)) == first


def test_an_invoice_somebody_paid_before_is_said_to_be_paid(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    engine.record_payment(_payment(invoice))
    recorded = engine.record_payment(_payment(invoice, reference="pay_2"))
    assert (recorded.ref, recorded.note) == (
        None,
        "Lago had this invoice as paid already; nothing was entered",
    )
    assert len(sandbox.payments) == 1


def test_more_than_is_due_is_refused(engine: LagoEngine, invoice: Mapping[str, Any]) -> None:
    with pytest.raises(Conflict) as caught:
        engine.record_payment(_payment(invoice, 5881))
    assert (caught.value.field, caught.value.code) == ("amount_cents", "value_is_out_of_range")


@pytest.mark.parametrize("licence", ["auto", "free"])
def test_without_a_licence_a_whole_payment_is_marked_and_its_cost_said(
    connect: Connect, sandbox: LagoSandbox, invoice: Mapping[str, Any], licence: str
) -> None:
    sandbox.set_premium(False)
    recorded = lago_engine(connect(licence=licence)).record_payment(_payment(invoice))
    assert recorded.ref is None
    assert "refuse a credit note" in str(recorded.note)
    assert (_now(sandbox)["payment_status"], _now(sandbox)["total_paid_amount_cents"]) == ("succeeded", 0)
    assert (("POST", "/payments") in _sent(sandbox, "POST")) == (licence == "auto")


def test_without_a_licence_a_repeated_payment_changes_nothing(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    sandbox.set_premium(False)
    _lose_answer(sandbox, "PUT", "/invoices")
    with pytest.raises(Temporary):
        engine.record_payment(_payment(invoice))
    recorded = engine.record_payment(_payment(invoice, look_first=True))
    assert recorded.note == "Lago has this invoice as paid already"
    assert len(_sent(sandbox, "PUT")) == 1


def test_without_a_licence_a_partial_payment_is_refused_with_the_reason(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    sandbox.set_premium(False)
    with pytest.raises(Unsupported, match="partial payments only with a premium licence"):
        engine.record_payment(_payment(invoice, 5879))
    assert _now(sandbox)["payment_status"] == "pending"


def test_a_licence_that_is_promised_and_missing_is_an_error(
    connect: Connect, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    sandbox.set_premium(False)
    engine = lago_engine(connect(licence="premium"))
    with pytest.raises(Unsupported):
        engine.record_payment(_payment(invoice))
    with pytest.raises(Unsupported):
        engine.issue_credit_note(_refund(invoice, 100))
    assert _now(sandbox)["payment_status"] == "pending"


def test_a_void_invoice_takes_no_payment_whatever_the_licence(
    engine: LagoEngine, story: Any, invoice: Mapping[str, Any]
) -> None:
    story.ok("POST", f"/invoices/{invoice['lago_id']}/void")
    with pytest.raises(Refused, match="voided"):
        engine.record_payment(_payment(invoice))


def test_an_unknown_invoice_is_not_found(engine: LagoEngine) -> None:
    unknown = {"lago_id": "00000000-0000-4000-8000-000000000000"}
    with pytest.raises(NotFound):
        engine.record_payment(_payment(unknown))
    with pytest.raises(NotFound):
        engine.fetch_invoice(_ref(unknown))
    with pytest.raises(NotFound):
        engine.record_failure(_ref(unknown))


def test_a_failure_is_marked_once(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    assert engine.record_failure(_ref(invoice)).note is None
    assert engine.record_failure(_ref(invoice)).note is None
    assert _now(sandbox)["payment_status"] == "failed"
    assert len(_sent(sandbox, "PUT")) == 1


def test_a_failure_heard_late_does_not_undo_a_payment(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    engine.record_payment(_payment(invoice))
    assert "as paid" in str(engine.record_failure(_ref(invoice)).note)
    assert _now(sandbox)["payment_status"] == "succeeded"


def test_a_failure_of_a_void_invoice_stays_here(
    engine: LagoEngine, story: Any, invoice: Mapping[str, Any]
) -> None:
    story.ok("POST", f"/invoices/{invoice['lago_id']}/void")
    assert "as voided" in str(engine.record_failure(_ref(invoice)).note)


def test_an_invoice_is_fetched_as_facts(engine: LagoEngine, invoice: Mapping[str, Any]) -> None:
    engine.record_payment(_payment(invoice, 880))
    final, seen, payer = engine.fetch_invoice(_ref(invoice))
    assert isinstance(final, InvoiceFinalized)
    assert isinstance(seen, InvoiceObserved)
    assert isinstance(payer, CustomerObserved)
    assert (final.customer_id, final.due, final.taxes) == ("acct_1", 5880, 980)
    assert (seen.due, seen.paid, seen.payment_status) == (5000, 880, PaymentStatus.PENDING)


# --- credit notes ------------------------------------------------------------------------------------------------


@pytest.fixture
def paid(engine: LagoEngine, invoice: Mapping[str, Any]) -> Mapping[str, Any]:
    engine.record_payment(_payment(invoice))
    return invoice


def test_a_whole_refund_is_a_credit_note_over_everything(
    engine: LagoEngine, sandbox: LagoSandbox, paid: Mapping[str, Any]
) -> None:
    recorded = engine.issue_credit_note(_refund(paid, 5880))
    (note,) = sandbox.credit_notes
    assert (recorded.ref, recorded.note) == (_ref(note), None)
    assert [item["amount_cents"] for item in note["items"]] == [4900]
    assert (note["refund_amount_cents"], note["credit_amount_cents"], note["total_amount_cents"]) == (
        5880,
        0,
        5880,
    )
    assert (note["refund_status"], note["reason"]) == ("succeeded", "order_change")
    assert note["metadata"] == {"billhook_refund": "dodo:ref_1"}


@pytest.mark.parametrize(
    ("reason", "kept"), [("requested_by_customer", "other"), (None, "other"), ("other", "other")]
)
def test_a_reason_lago_does_not_know_is_other(
    engine: LagoEngine, sandbox: LagoSandbox, paid: Mapping[str, Any], reason: str | None, kept: str
) -> None:
    engine.issue_credit_note(_refund(paid, 100, reason=reason))
    assert sandbox.credit_notes[0]["reason"] == kept


def test_partial_refunds_are_one_credit_note_each_until_nothing_is_left(
    engine: LagoEngine, sandbox: LagoSandbox, paid: Mapping[str, Any]
) -> None:
    for number, cents in enumerate((1, 333, 1999, 3547)):
        engine.issue_credit_note(_refund(paid, cents, f"ref_{number}"))
    assert [note["refund_amount_cents"] for note in sandbox.credit_notes] == [1, 333, 1999, 3547]
    assert sum(item["amount_cents"] for note in sandbox.credit_notes for item in note["items"]) == 4900


def test_a_refund_over_several_fees_takes_from_each(
    engine: LagoEngine, sandbox: LagoSandbox, story: Any
) -> None:
    add_on = {"name": "Set-up", "code": "setup", "amount_cents": 1000, "amount_currency": "EUR"}
    story.ok("POST", "/add_ons", {"add_on": add_on})
    fees = [{"add_on_code": "setup", "unit_amount_cents": cents} for cents in (1000, 333, 1)]
    made = story.ok(
        "POST", "/invoices", {"invoice": {"external_customer_id": "acct_1", "currency": "EUR", "fees": fees}}
    )
    total = made["total_amount_cents"]
    engine.record_payment(_payment(made, total))
    engine.issue_credit_note(_refund(made, 777, "ref_1"))
    engine.issue_credit_note(_refund(made, total - 777, "ref_2"))
    first, second = sandbox.credit_notes
    assert (first["refund_amount_cents"], second["refund_amount_cents"]) == (777, total - 777)
    assert len(first["items"]) >= 2
    assert sum(item["amount_cents"] for note in (first, second) for item in note["items"]) == 1334


@settings(deadline=None)  # speed is not what it tests
@given(
    net=st.integers(min_value=1, max_value=1_000_000),
    tax=st.integers(min_value=0, max_value=30),
    part=st.integers(min_value=1, max_value=10_000),
)
def test_any_part_of_any_invoice_comes_out_at_exactly_what_was_refunded(
    net: int, tax: int, part: int
) -> None:
    clock = VirtualClock(datetime(2026, 7, 1, tzinfo=UTC))
    sandbox = LagoSandbox(clock=clock)
    engine = _engine_of(sandbox, clock)
    engine.upsert_customer(Customer(id="acct_1"))
    invoice = sandbox.issue_invoice("acct_1", net, taxes_cents=net * tax // 100)
    total = int(invoice["total_amount_cents"])
    cents = max(1, total * part // 10_000)
    engine.record_payment(_payment(invoice, total))
    engine.issue_credit_note(_refund(invoice, cents))
    (note,) = sandbox.credit_notes
    assert (note["refund_amount_cents"], note["refund_status"]) == (cents, "succeeded")


def _engine_of(sandbox: LagoSandbox, clock: VirtualClock) -> LagoEngine:
    values = {"api_url": "http://lago.sandbox", "api_key": "lago-sandbox-key", "webhook_secret": "s"}
    settings = LagoConfig.model_validate(values)
    return lago_engine(make_context("lago", settings, apps={"http://lago.sandbox": sandbox}, clock=clock))


def test_a_lost_estimate_makes_no_credit_note(
    engine: LagoEngine, sandbox: LagoSandbox, paid: Mapping[str, Any]
) -> None:
    _lose_answer(sandbox, "POST", "/credit_notes/estimate")
    with pytest.raises(Temporary):
        engine.issue_credit_note(_refund(paid, 1000))
    assert sandbox.credit_notes == []


def test_a_credit_note_whose_refund_could_not_be_closed_is_found_and_closed(
    engine: LagoEngine, sandbox: LagoSandbox, paid: Mapping[str, Any]
) -> None:
    sandbox.faults.add(Fault(FaultKind.UNAVAILABLE, "PUT", "/credit_notes"))
    with pytest.raises(Temporary):
        engine.issue_credit_note(_refund(paid, 1000))
    assert sandbox.credit_notes[0]["refund_status"] == "pending"
    recorded = engine.issue_credit_note(_refund(paid, 1000, look_first=True))
    (note,) = sandbox.credit_notes
    assert (recorded.ref, note["refund_status"]) == (_ref(note), "succeeded")


def test_a_credit_note_created_without_an_answer_is_an_unknown_outcome(
    engine: LagoEngine, sandbox: LagoSandbox, paid: Mapping[str, Any]
) -> None:
    sandbox.faults.add(Fault(FaultKind.SLOW, "POST", "/credit_notes/estimate", times=1))
    sandbox.faults.add(Fault(FaultKind.LOST_ANSWER, "POST", "/credit_notes"))
    with pytest.raises(OutcomeUnknown):
        engine.issue_credit_note(_refund(paid, 5880))
    assert sandbox.credit_notes[0]["refund_status"] == "pending"
    engine.issue_credit_note(_refund(paid, 5880, look_first=True))
    assert [note["refund_status"] for note in sandbox.credit_notes] == ["succeeded"]


@pytest.mark.parametrize("licence", ["auto", "free"])
def test_without_a_licence_a_refund_stays_here_and_that_is_said(
    connect: Connect, sandbox: LagoSandbox, invoice: Mapping[str, Any], licence: str
) -> None:
    sandbox.set_premium(False)
    recorded = lago_engine(connect(licence=licence)).issue_credit_note(_refund(invoice, 1000))
    assert recorded.ref is None
    assert "recorded here only" in str(recorded.note)
    assert "licence" in str(recorded.note)


def test_a_refund_of_an_invoice_that_was_only_marked_paid_stays_here_with_lagos_reason(
    engine: LagoEngine, sandbox: LagoSandbox, story: Any, invoice: Mapping[str, Any]
) -> None:
    story.ok("PUT", f"/invoices/{invoice['lago_id']}", {"invoice": {"payment_status": "succeeded"}})
    recorded = engine.issue_credit_note(_refund(invoice, 1000))
    assert "cannot_refund_unpaid_invoice" in str(recorded.note)
    assert sandbox.credit_notes == []


def test_more_than_was_paid_stays_here_with_lagos_reason(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    engine.record_payment(_payment(invoice, 880))
    recorded = engine.issue_credit_note(_refund(invoice, 881))
    assert "higher_than_remaining_invoice_amount" in str(recorded.note)
    assert sandbox.credit_notes == []


def test_an_invoice_credited_in_full_takes_no_more(engine: LagoEngine, paid: Mapping[str, Any]) -> None:
    engine.issue_credit_note(_refund(paid, 5880))
    with pytest.raises(Refused, match="no fee of the invoice is left"):
        engine.issue_credit_note(_refund(paid, 100, "ref_2"))


def _note_to_refund(story: Any, invoice: Mapping[str, Any]) -> Ref:
    items = [{"fee_id": invoice["fees"][0]["lago_id"], "amount_cents": 100}]
    note = {"invoice_id": invoice["lago_id"], "items": items, "refund_amount_cents": 120}
    return _ref(story.ok("POST", "/credit_notes", {"credit_note": note}))


@pytest.mark.parametrize(("succeeded", "status"), [(True, "succeeded"), (False, "failed")])
def test_a_refund_lago_asked_for_is_closed(
    engine: LagoEngine,
    sandbox: LagoSandbox,
    story: Any,
    paid: Mapping[str, Any],
    succeeded: bool,
    status: str,
) -> None:
    asked = _note_to_refund(story, paid)
    for _ in range(2):
        assert engine.close_refund(asked, succeeded=succeeded).ref == asked
    assert sandbox.credit_notes[0]["refund_status"] == status
