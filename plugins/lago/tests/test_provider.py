"""The Lago engine against a sandboxed Lago: with and without a licence, and when answers get lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billhook.clock import VirtualClock
from billhook.errors import Conflict, NotFound, OutcomeUnknown, Permanent, Refused, Temporary, Unsupported
from billhook.events import InvoiceFinalized, InvoiceObserved
from billhook.hookspecs import ConnectionContext
from billhook.model import (
    Address,
    Customer,
    PaymentStatus,
    Period,
    Ref,
    Subscription,
    SubscriptionStatus,
    UsageLine,
)
from billhook.money import Money
from billhook.provider import (
    BillingEngine,
    CancelWhen,
    CreditNoteRequest,
    PaymentRecord,
    Severity,
    SupportsCheck,
    SupportsCreditNotes,
    SupportsInvoicePdf,
    SupportsPlans,
    SupportsSubscriptions,
    SupportsUsage,
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


def test_it_is_what_it_claims_to_be(engine: LagoEngine) -> None:
    claims = (
        BillingEngine,
        SupportsCreditNotes,
        SupportsPlans,
        SupportsSubscriptions,
        SupportsInvoicePdf,
        SupportsUsage,
        SupportsCheck,
    )
    assert all(isinstance(engine, claim) for claim in claims)
    assert (engine.connection, engine.info.plugin) == ("lago", "lago")


# --- customers ---------------------------------------------------------------------------------------------------

ADA = Customer(
    id="acct.2/x",
    name="Ada Byrne",
    email="ada@acme.example",
    address=Address(line1="12 Dock Street", city="Dublin", postal_code="D02", country="IE"),
    tax_id="IE6388047V",
    currency="EUR",
    locale="de-AT",
    timezone="Europe/Dublin",
)


def test_a_customer_is_created_and_changed(engine: LagoEngine, sandbox: LagoSandbox) -> None:
    first = engine.upsert_customer(ADA)
    again = engine.upsert_customer(Customer(id=ADA.id, name="Ada King"))
    kept = next(row for row in sandbox.customers if row["external_id"] == ADA.id)
    assert first == again == _ref(kept)
    assert (kept["name"], kept["email"], kept["currency"]) == ("Ada King", "ada@acme.example", "EUR")
    assert (kept["zipcode"], kept["tax_identification_number"]) == ("D02", "IE6388047V")
    assert (kept["billing_configuration"]["document_locale"], kept["timezone"]) == ("de", "Europe/Dublin")


@pytest.mark.parametrize(
    ("locale", "language"), [("pt-BR", "pt-BR"), ("pt_br", "pt-BR"), ("EN", "en"), ("fr-CA", "fr")]
)
def test_a_locale_becomes_a_language_lago_knows(
    engine: LagoEngine, sandbox: LagoSandbox, locale: str, language: str
) -> None:
    engine.upsert_customer(Customer(id="c", locale=locale))
    assert sandbox.customers[-1]["billing_configuration"]["document_locale"] == language


def _metadata(sandbox: LagoSandbox, customer_id: str = "acct_1") -> dict[str, str]:
    row = next(row for row in sandbox.customers if row["external_id"] == customer_id)
    return {entry["key"]: entry["value"] for entry in row["metadata"]}


def test_metadata_is_merged_with_what_others_put_there(
    engine: LagoEngine, sandbox: LagoSandbox, story: Any
) -> None:
    ids = {entry["lago_id"] for row in sandbox.customers for entry in row["metadata"]}
    engine.upsert_customer(Customer(id="acct_1", provider_ids={"dodo": "cus_2", "stripe": "cus_3"}))
    assert _metadata(sandbox) == {"dodo_customer_id": "cus_2", "stripe_customer_id": "cus_3"}
    assert ids < {entry["lago_id"] for row in sandbox.customers for entry in row["metadata"]}


def test_metadata_that_is_there_already_is_not_sent(engine: LagoEngine, sandbox: LagoSandbox) -> None:
    engine.upsert_customer(Customer(id="acct_1", provider_ids={"dodo": "cus_1"}))
    assert sandbox.requests[-1].body == {"customer": {"external_id": "acct_1"}}


def test_metadata_keeps_to_lagos_limits(engine: LagoEngine, sandbox: LagoSandbox) -> None:
    many = {f"p{number}": f"cus_{number}" for number in range(9)}
    engine.upsert_customer(
        Customer(id="new", provider_ids=many | {"far-too-long-a-name": "x", "empty": "", "long": "x" * 101})
    )
    assert _metadata(sandbox, "new") == {f"p{n}_customer_id": f"cus_{n}" for n in range(5)}


def test_a_currency_that_is_fixed_is_a_conflict_that_names_it(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    with pytest.raises(Conflict) as caught:
        engine.upsert_customer(Customer(id="acct_1", currency="USD"))
    assert (caught.value.field, caught.value.code) == ("currency", "currencies_does_not_match")


def test_a_customer_whose_answer_was_lost_is_written_again_without_harm(
    engine: LagoEngine, sandbox: LagoSandbox
) -> None:
    _lose_answer(sandbox, "POST", "/customers")
    with pytest.raises(Temporary):
        engine.upsert_customer(Customer(id="new", provider_ids={"dodo": "cus_9"}))
    engine.upsert_customer(Customer(id="new", provider_ids={"dodo": "cus_9"}))
    assert [row["external_id"] for row in sandbox.customers].count("new") == 1
    assert _metadata(sandbox, "new") == {"dodo_customer_id": "cus_9"}


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
    final, seen = engine.fetch_invoice(_ref(invoice))
    assert isinstance(final, InvoiceFinalized)
    assert isinstance(seen, InvoiceObserved)
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
    with pytest.raises(Refused, match="credited already"):
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


# --- plans and subscriptions -------------------------------------------------------------------------------------


def test_plans_are_listed_over_all_pages(engine: LagoEngine, sandbox: LagoSandbox) -> None:
    for number in range(101):
        sandbox.add_plan(code=f"p{number}", name=f"P {number}", amount_cents=number, trial_days=14)
    plans = {plan.code: plan for plan in engine.plans()}
    assert len(plans) == 103
    pro = plans["pro"]
    assert (pro.name, pro.amount, pro.interval, pro.pay_in_advance) == (
        "Pro",
        Money(4900, "EUR"),
        "monthly",
        True,
    )
    assert (plans["p7"].trial_days, pro.retiring) == (14.0, False)


def _subscribe(engine: LagoEngine, plan: str = "starter") -> Subscription:
    return engine.subscribe(customer_id="acct_1", plan=plan, external_id="sub.1")


def test_a_subscription_is_started_once(
    engine: LagoEngine, sandbox: LagoSandbox, clock: VirtualClock
) -> None:
    first = _subscribe(engine)
    assert _subscribe(engine) == first
    assert len(sandbox.subscriptions) == 1
    assert (first.status, first.plan, first.customer_id, first.external_id, first.started_at) == (
        SubscriptionStatus.ACTIVE,
        "starter",
        "acct_1",
        "sub.1",
        clock.now(),
    )
    assert first.current_period == Period(start=clock.now(), end=datetime(2026, 8, 1, tzinfo=UTC))


def test_a_subscription_in_its_trial_says_so(
    engine: LagoEngine, sandbox: LagoSandbox, clock: VirtualClock
) -> None:
    sandbox.add_plan(code="tried", name="Tried", amount_cents=100, trial_days=14)
    started = _subscribe(engine, "tried")
    assert (started.status, started.trial_ends_at) == (
        SubscriptionStatus.TRIALING,
        clock.now() + timedelta(days=14),
    )
    clock.advance(timedelta(days=15))
    sandbox.tick()
    assert engine.subscriptions("acct_1")[0].status is SubscriptionStatus.ACTIVE


def test_a_dearer_plan_replaces_the_row_at_once(engine: LagoEngine, clock: VirtualClock) -> None:
    old = _subscribe(engine)
    clock.advance(timedelta(days=3))
    new = engine.change_plan(old, plan="pro")
    assert (new.plan, new.previous_plan, new.external_id) == ("pro", "starter", "sub.1")
    rows = {row.ref: row.status for row in engine.subscriptions("acct_1")}
    assert rows == {old.ref: SubscriptionStatus.SUPERSEDED, new.ref: SubscriptionStatus.ACTIVE}


def test_a_cheaper_plan_waits_for_the_period_and_can_be_called_off(
    engine: LagoEngine, sandbox: LagoSandbox
) -> None:
    live = _subscribe(engine, "pro")
    changed = engine.change_plan(live, plan="starter")
    assert (changed.ref, changed.next_plan, changed.next_plan_on) == (live.ref, "starter", date(2026, 8, 1))
    for _ in range(2):
        engine.cancel_pending_change(live)
    assert len(_sent(sandbox, "DELETE")) == 1
    statuses = [row.status for row in engine.subscriptions("acct_1")]
    assert statuses == [SubscriptionStatus.CANCELED, SubscriptionStatus.ACTIVE]
    assert engine.subscriptions("acct_1")[1].next_plan is None


def test_calling_off_a_change_never_ends_the_live_subscription(
    engine: LagoEngine, sandbox: LagoSandbox
) -> None:
    live = _subscribe(engine, "pro")
    engine.cancel_pending_change(live)
    assert [row["status"] for row in sandbox.subscriptions] == ["active"]
    assert _sent(sandbox, "DELETE") == []


def test_ending_now_ends_and_a_lost_answer_is_told_the_second_time(
    engine: LagoEngine, sandbox: LagoSandbox, clock: VirtualClock
) -> None:
    live = _subscribe(engine)
    _lose_answer(sandbox, "DELETE", "/subscriptions")
    with pytest.raises(Temporary):
        engine.cancel(live, when=CancelWhen.NOW)
    ended = engine.cancel(live, when=CancelWhen.NOW)
    assert (ended.status, ended.ended_at, ended.ref) == (SubscriptionStatus.ENDED, clock.now(), live.ref)


def test_a_row_that_was_replaced_cannot_be_ended(engine: LagoEngine) -> None:
    old = _subscribe(engine)
    new = engine.change_plan(old, plan="pro")
    engine.cancel(new, when=CancelWhen.NOW)
    with pytest.raises(NotFound):
        engine.cancel(_other(old), when=CancelWhen.NOW)


def _other(row: Subscription) -> Subscription:
    return replace(row, ref=Ref("lago", "another-row"))


def test_a_subscription_that_has_not_started_is_called_off(
    engine: LagoEngine, story: Any, sandbox: LagoSandbox
) -> None:
    terms = {"external_customer_id": "acct_1", "plan_code": "pro", "external_id": "sub.1"}
    story.ok("POST", "/subscriptions", {"subscription": terms | {"subscription_at": "2026-09-01T00:00:00Z"}})
    (pending,) = engine.subscriptions("acct_1")
    assert pending.status is SubscriptionStatus.PENDING
    for _ in range(2):
        assert engine.cancel(pending, when=CancelWhen.NOW).status is SubscriptionStatus.CANCELED


def test_ending_at_the_periods_end_and_taking_it_back(engine: LagoEngine, sandbox: LagoSandbox) -> None:
    live = _subscribe(engine)
    ending = engine.cancel(live, when=CancelWhen.PERIOD_END)
    assert ending.ends_at == datetime(2026, 7, 31, 23, 59, 59, tzinfo=UTC)
    assert engine.undo_cancel(live).ends_at is None
    assert sandbox.requests[-1].body == {"subscription": {"ending_at": None}}


def test_on_the_periods_last_day_the_end_is_the_next_instant(engine: LagoEngine, clock: VirtualClock) -> None:
    live = _subscribe(engine)
    clock.advance(timedelta(days=30, hours=5))
    assert engine.cancel(live, when=CancelWhen.PERIOD_END).ends_at == datetime(2026, 8, 1, tzinfo=UTC)


def test_ending_at_an_instant_is_sent_in_utc(engine: LagoEngine) -> None:
    live = _subscribe(engine)
    at = datetime.fromisoformat("2026-07-20T10:00:00+02:00")
    assert engine.cancel(live, when=at).ends_at == datetime(2026, 7, 20, 8, tzinfo=UTC)


def test_an_end_in_the_past_is_a_conflict(engine: LagoEngine) -> None:
    live = _subscribe(engine)
    with pytest.raises(Conflict) as caught:
        engine.cancel(live, when=datetime(2026, 6, 1, tzinfo=UTC))
    assert caught.value.field == "ending_at"


def test_an_ended_subscription_is_ended_in_the_list(engine: LagoEngine, clock: VirtualClock) -> None:
    live = _subscribe(engine)
    engine.cancel(live, when=CancelWhen.NOW)
    clock.advance(timedelta(days=9))
    _subscribe(engine)  # a new agreement under the old id is no plan change
    statuses = {row.started_at == live.started_at: row.status for row in engine.subscriptions("acct_1")}
    assert statuses == {True: SubscriptionStatus.ENDED, False: SubscriptionStatus.ACTIVE}


# --- PDF, usage, check -------------------------------------------------------------------------------------------


def test_a_pdf_is_made_and_then_returned(engine: LagoEngine, invoice: Mapping[str, Any]) -> None:
    assert engine.invoice_pdf(_ref(invoice)) is None
    assert (engine.invoice_pdf(_ref(invoice)) or b"").startswith(b"%PDF")


def test_usage_is_read_line_by_line(engine: LagoEngine, sandbox: LagoSandbox) -> None:
    live = _subscribe(engine)
    sandbox.set_usage("sub.1", 1250, units="12.5", events=3)
    usage = engine.usage(customer_id="acct_1", external_id="sub.1")
    assert (usage.period, usage.amount) == (live.current_period, Money(1250, "EUR"))
    (line,) = usage.lines
    assert isinstance(line, UsageLine)
    assert (line.units, line.amount) == ("12.5", Money(1250, "EUR"))


def _found(engine: LagoEngine) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.what) for finding in engine.check()]


def _severities(found: Sequence[tuple[Severity, str]], word: str) -> list[Severity]:
    return [severity for severity, what in found if word in what]


def test_a_good_set_up_is_found_good(engine: LagoEngine, story: Any, invoice: Mapping[str, Any]) -> None:
    endpoint = {"webhook_url": "https://billhook.example/webhooks/lago", "signature_algo": "hmac"}
    story.ok("POST", "/webhook_endpoints", {"webhook_endpoint": endpoint})
    found = _found(engine)
    assert {severity for severity, _ in found} == {Severity.OK}
    assert [what for _, what in found][1:] == [
        "Lago 1.51.0.",
        "Lago has a premium licence.",
        "Lago's webhooks come here, signed with hmac.",
    ]


def test_a_check_changes_nothing(
    engine: LagoEngine, sandbox: LagoSandbox, invoice: Mapping[str, Any]
) -> None:
    engine.check()  # the sandbox learns its own address from the first call
    before = sandbox.state()
    engine.check()
    assert sandbox.state() == before


def test_a_wrong_key_is_one_error(connect: Connect, sandbox: LagoSandbox) -> None:
    (finding,) = lago_engine(connect(api_key="wrong-key")).check()
    assert finding.severity is Severity.ERROR
    assert "LAGO_API_KEY" in finding.what


def test_an_endpoint_that_signs_otherwise_is_an_error_with_its_mending(
    engine: LagoEngine, story: Any
) -> None:
    endpoint = {"webhook_url": "https://billhook.example/api/billing/webhooks/"}
    story.ok("POST", "/webhook_endpoints", {"webhook_endpoint": endpoint})
    (finding,) = [finding for finding in engine.check() if finding.severity is Severity.ERROR]
    assert "with jwt, and we expect hmac" in finding.what
    assert "LAGO_WEBHOOK_ALGORITHM=jwt" in finding.fix


def test_a_missing_endpoint_is_a_warning(engine: LagoEngine) -> None:
    assert _severities(_found(engine), "/webhooks/lago") == [Severity.WARNING]


@pytest.mark.parametrize(
    ("licence", "premium", "severity"),
    [
        ("auto", True, Severity.OK),
        ("auto", False, Severity.WARNING),
        ("premium", True, Severity.OK),
        ("premium", False, Severity.ERROR),
        ("free", True, Severity.WARNING),
        ("free", False, Severity.WARNING),
    ],
)
def test_the_licence_is_probed(
    connect: Connect,
    sandbox: LagoSandbox,
    invoice: Mapping[str, Any],
    licence: str,
    premium: bool,
    severity: Severity,
) -> None:
    sandbox.set_premium(premium)
    assert _severities(_found(lago_engine(connect(licence=licence))), "licence") == [severity]


def test_without_any_invoice_the_licence_may_stay_unknown(engine: LagoEngine) -> None:
    assert (Severity.WARNING, "Whether Lago has a premium licence shows with its first invoice.") in _found(
        engine
    )


def test_a_key_of_another_organisation_is_an_error(connect: Connect) -> None:
    found = _found(lago_engine(connect(organization_id="other")))
    assert _severities(found, "organisation") == [Severity.ERROR]


def test_a_lago_that_is_down_cannot_be_checked(engine: LagoEngine, sandbox: LagoSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.UNAVAILABLE))
    with pytest.raises(Temporary):
        engine.check()


def test_an_answer_that_is_not_lagos_is_permanent(connect: Connect) -> None:
    def odd(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"{}"]

    engine = lago_engine(connect(app=odd))
    for call in (
        engine.plans,
        engine.check,
        lambda: engine.subscriptions("acct_1"),
        lambda: engine.usage(customer_id="acct_1", external_id="s"),
        lambda: engine.upsert_customer(Customer(id="acct_1")),
    ):
        with pytest.raises(Permanent):
            call()
