"""State from facts: what each fact does to it, and that neither order nor repetition matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billhook.events import (
    CollectionRequested,
    CreditNoteIssued,
    CustomerObserved,
    DisputeChanged,
    EngineCollectionFailed,
    Event,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceVoided,
    MandateChanged,
    PaymentCanceled,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    RefundChanged,
    SubscriptionCanceled,
    SubscriptionEnded,
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionSuperseded,
    SubscriptionTrialEnded,
    SubscriptionUpdated,
)
from billhook.model import (
    Decline,
    DeclineClass,
    Dispute,
    DisputeStatus,
    Invoice,
    InvoiceStatus,
    MandateStatus,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Period,
    Ref,
    Refund,
    RefundStatus,
    SubscriptionStatus,
)
from billhook.money import Money
from billhook.projections import (
    AMOUNT_MISMATCH,
    FOREIGN_CURRENCY,
    OVERPAID,
    PAID_AFTER_VOID,
    check_amount,
    project_credit_note,
    project_customer,
    project_dispute,
    project_invoice,
    project_mandate,
    project_payment,
    project_refund,
    project_subscription,
)
from billhook.testing.strategies import events

T0 = datetime(2026, 8, 1, tzinfo=UTC)
INVOICE, PAYMENT, SUBSCRIPTION = Ref("lago", "inv_1"), Ref("dodo", "pay_1"), Ref("lago", "sub_1")
DECLINE = Decline(code="INSUFFICIENT_FUNDS", kind=DeclineClass.SOFT)


def day(number: int) -> datetime:
    return T0 + timedelta(days=number)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def finalized(**changes: Any) -> InvoiceFinalized:
    fact = InvoiceFinalized(
        at=T0,
        ref=INVOICE,
        customer_id="acme",
        number="A-1",
        currency="EUR",
        total=10_000,
        taxes=1_597,
        due=10_000,
    )
    return replace(fact, **changes)


def observed(**changes: Any) -> InvoiceObserved:
    fact = InvoiceObserved(
        at=day(1),
        ref=INVOICE,
        status=InvoiceStatus.FINALIZED,
        payment_status=PaymentStatus.PENDING,
        currency="EUR",
        total=10_000,
        due=10_000,
        paid=0,
    )
    return replace(fact, **changes)


def a_payment(number: int = 1, status: PaymentStatus = PaymentStatus.SUCCEEDED, **changes: Any) -> Payment:
    payment = Payment(
        ref=Ref("dodo", f"pay_{number}"),
        status=status,
        amount=eur(10_000),
        applied=eur(10_000),
        at=day(number),
    )
    return replace(payment, **changes)


def invoice_of(*facts: Any, payments: Sequence[Payment] = ()) -> Invoice:
    invoice = project_invoice(facts or [finalized()], payments)
    assert invoice is not None
    return invoice


def paid(at: datetime = T0, **changes: Any) -> PaymentSucceeded:
    return replace(PaymentSucceeded(at=at, ref=PAYMENT, amount=eur(10_000), applied=eur(10_000)), **changes)


def failed(at: datetime = T0, **changes: Any) -> PaymentFailed:
    fact = PaymentFailed(at=at, ref=PAYMENT, amount=eur(10_000), applied=eur(10_000), decline=DECLINE)
    return replace(fact, **changes)


def processing(at: datetime = T0, **changes: Any) -> PaymentProcessing:
    return replace(PaymentProcessing(at=at, ref=PAYMENT, amount=eur(10_000), applied=eur(10_000)), **changes)


def payment_of(*facts: Any, **more: Any) -> Payment:
    return project_payment(facts, invoice=INVOICE, customer_id="acme", key="lago-inv-inv_1", **more)


def refund(amount: int | None, status: RefundStatus = RefundStatus.SUCCEEDED, number: int = 1) -> Refund:
    money = None if amount is None else eur(amount)
    return Refund(
        ref=Ref("dodo", f"ref_{number}"), payment=PAYMENT, status=status, at=day(number), amount=money
    )


def dispute(status: DisputeStatus, amount: Money | None = None, *, by_refund: bool = False) -> Dispute:
    return Dispute(
        ref=Ref("dodo", "dsp_1"),
        payment=PAYMENT,
        status=status,
        amount=amount or eur(10_000),
        at=day(5),
        resolved_by_refund=by_refund,
    )


def row(kind: type[Any], at: datetime = T0, **more: Any) -> Any:
    return kind(at=at, ref=SUBSCRIPTION, external_id="acme-1", customer_id="acme", plan="pro", **more)


# --- payments ------------------------------------------------------------------------------------------------------


def test_a_failure_told_after_success_changes_nothing() -> None:
    payment = payment_of(paid(day(0)), failed(day(1)))
    assert (payment.status, payment.decline, payment.at) == (PaymentStatus.SUCCEEDED, None, day(0))


def test_a_success_told_twice_keeps_its_first_time() -> None:
    assert payment_of(paid(day(3)), paid(day(1))).at == day(1)


def test_a_debit_under_way_may_fail_later() -> None:
    payment = payment_of(processing(day(0)), failed(day(4)))
    assert (payment.status, payment.decline) == (PaymentStatus.FAILED, DECLINE)


def test_a_new_try_after_a_failure_is_under_way() -> None:
    assert payment_of(failed(day(0)), processing(day(1))).status is PaymentStatus.PROCESSING


def test_within_one_instant_the_outcome_supersedes_being_under_way() -> None:
    canceled = PaymentCanceled(at=T0, ref=PAYMENT, amount=eur(1), applied=eur(1))
    assert payment_of(processing(), canceled).status is PaymentStatus.CANCELED
    assert payment_of(failed(), canceled).status is PaymentStatus.FAILED


def test_a_customer_who_must_act_is_told_apart_from_a_debit_under_way() -> None:
    assert payment_of(processing(requires_action=True)).status is PaymentStatus.REQUIRES_ACTION


def test_what_only_an_earlier_fact_told_stays_known() -> None:
    card = PaymentMethod(brand="visa", last4="4242")
    payment = payment_of(processing(session="cks_1", method=card), paid(day(1)))
    assert (payment.session, payment.method) == ("cks_1", card)


def test_a_payment_that_only_saves_a_method_settles_nothing() -> None:
    payment = payment_of(paid(saves_method=True))
    assert payment.applied == eur(0)
    assert invoice_of(payments=[payment]).balance == 10_000


def test_partial_refunds_add_up() -> None:
    assert payment_of(paid(), refunds=[refund(3_000), refund(2_000, number=2)]).refunded == 5_000


def test_a_refund_without_amount_is_the_rest() -> None:
    assert payment_of(paid(), refunds=[refund(3_000), refund(None, number=2)]).refunded == 10_000


def test_refunds_never_exceed_the_payment() -> None:
    assert payment_of(paid(), refunds=[refund(8_000), refund(8_000, number=2)]).refunded == 10_000


@pytest.mark.parametrize("status", [RefundStatus.PENDING, RefundStatus.FAILED])
def test_a_refund_that_has_not_succeeded_takes_nothing_back(status: RefundStatus) -> None:
    assert payment_of(paid(), refunds=[refund(None, status)]).refunded == 0


def test_a_refund_told_in_another_currency_counts_as_all_of_it() -> None:
    foreign = replace(refund(1), amount=Money(1, "USD"))
    assert payment_of(paid(), refunds=[foreign]).refunded == 10_000


def test_an_open_dispute_takes_nothing_yet() -> None:
    payment = payment_of(paid(), disputes=[dispute(DisputeStatus.OPEN)])
    assert (payment.disputed, payment.dispute_open) == (0, True)


def test_a_lost_dispute_takes_what_was_not_refunded_before() -> None:
    payment = payment_of(paid(), refunds=[refund(3_000)], disputes=[dispute(DisputeStatus.LOST)])
    assert (payment.refunded, payment.disputed, payment.dispute_open) == (3_000, 7_000, False)


def test_a_dispute_settled_by_a_refund_is_money_given_back_not_a_lost_case() -> None:
    payment = payment_of(paid(), disputes=[dispute(DisputeStatus.LOST, by_refund=True)])
    assert (payment.refunded, payment.disputed) == (10_000, 0)


def test_a_refund_and_the_dispute_it_settled_are_counted_once() -> None:
    payment = payment_of(
        paid(), refunds=[refund(None)], disputes=[dispute(DisputeStatus.LOST, by_refund=True)]
    )
    assert (payment.refunded, payment.disputed) == (10_000, 0)


def test_a_payment_that_brings_what_was_asked_for_is_not_flagged() -> None:
    assert check_amount(payment_of(paid()), [paid()], expected=eur(10_000)).flags == ()


@pytest.mark.parametrize("minor", [9_999, 10_001])
def test_a_payment_of_another_amount_is_flagged_and_settles_nothing(minor: int) -> None:
    payment = check_amount(payment_of(paid()), [paid()], expected=eur(minor))
    assert payment.flags == (AMOUNT_MISMATCH,)
    invoice = invoice_of(payments=[payment])
    assert (invoice.balance, invoice.flags) == (10_000, (AMOUNT_MISMATCH,))


def test_a_customer_billed_in_another_currency_is_compared_by_what_was_settled() -> None:
    fact = paid(amount=Money(51_600, "PLN"), applied=Money(51_600, "PLN"), settled=eur(10_000))
    payment = check_amount(payment_of(fact), [fact], expected=eur(10_000))
    assert (payment.applied, payment.flags) == (eur(10_000), ())
    assert invoice_of(payments=[payment]).balance == 0


def test_another_currency_without_a_settled_amount_is_flagged() -> None:
    fact = paid(amount=Money(10_000, "PLN"), applied=Money(10_000, "PLN"))
    assert check_amount(payment_of(fact), [fact], expected=eur(10_000)).flags == (AMOUNT_MISMATCH,)


def test_there_is_nothing_to_compare_when_nobody_knows_or_only_a_method_is_saved() -> None:
    saving = paid(saves_method=True)
    assert check_amount(payment_of(paid()), [paid()], expected=None).flags == ()
    assert check_amount(payment_of(saving), [saving], expected=eur(1)).flags == ()
    assert check_amount(payment_of(failed()), [failed()], expected=eur(1)).flags == ()


# --- refunds, disputes, credit notes, mandates, customers ---------------------------------------------------------


def changed(status: RefundStatus, at: datetime, **more: Any) -> RefundChanged:
    return RefundChanged(at=at, ref=Ref("dodo", "ref_1"), payment=PAYMENT, status=status, **more)


def test_a_refund_may_fail_after_it_succeeded() -> None:
    told = [changed(RefundStatus.SUCCEEDED, day(0)), changed(RefundStatus.FAILED, day(3))]
    assert project_refund(told).status is RefundStatus.FAILED


def test_a_refund_keeps_the_amount_that_one_of_its_messages_leaves_out() -> None:
    told = [
        changed(RefundStatus.PENDING, day(0), amount=eur(300), reason="late"),
        changed(RefundStatus.SUCCEEDED, day(1)),
    ]
    note = Ref("lago", "cn_1")
    assert project_refund(told, credit_note=note) == Refund(
        ref=Ref("dodo", "ref_1"),
        payment=PAYMENT,
        status=RefundStatus.SUCCEEDED,
        at=day(1),
        amount=eur(300),
        reason="late",
        credit_note=note,
    )


@pytest.mark.parametrize("won_after", [timedelta(0), timedelta(days=9)])
def test_a_dispute_won_after_it_was_lost_is_won(won_after: timedelta) -> None:
    lost = DisputeChanged(
        at=T0,
        ref=Ref("dodo", "dsp_1"),
        payment=PAYMENT,
        status=DisputeStatus.LOST,
        amount=eur(1),
        stage="dispute",
    )
    won = replace(lost, at=T0 + won_after, status=DisputeStatus.WON, stage=None)
    projected = project_dispute([won, lost])
    assert (projected.status, projected.stage) == (DisputeStatus.WON, "dispute")


def test_a_credit_note_keeps_its_first_time_and_the_refund_it_documents() -> None:
    issued = CreditNoteIssued(
        at=day(0),
        ref=Ref("lago", "cn_1"),
        invoice=INVOICE,
        amount=eur(500),
        refund=500,
        for_refund=Ref("dodo", "ref_1"),
    )
    later = replace(issued, at=day(2), for_refund=None, refund_status=RefundStatus.SUCCEEDED, number="CN-1")
    note = project_credit_note([later, issued])
    assert (note.at, note.for_refund, note.refund_status, note.number) == (
        day(0),
        Ref("dodo", "ref_1"),
        RefundStatus.SUCCEEDED,
        "CN-1",
    )


def test_within_one_instant_a_closed_refund_supersedes_an_open_one() -> None:
    issued = CreditNoteIssued(at=T0, ref=Ref("lago", "cn_1"), invoice=INVOICE, amount=eur(500))
    told = [replace(issued, refund_status=status) for status in (RefundStatus.FAILED, RefundStatus.PENDING)]
    assert project_credit_note(told).refund_status is RefundStatus.FAILED


def test_a_mandate_on_hold_keeps_what_was_known_of_it() -> None:
    active = MandateChanged(
        at=day(0),
        ref=Ref("dodo", "sub_9"),
        status=MandateStatus.ACTIVE,
        provider_customer="cus_1",
        currency="EUR",
        method=PaymentMethod(last4="4242"),
    )
    held = MandateChanged(at=day(1), ref=active.ref, status=MandateStatus.ON_HOLD)
    mandate = project_mandate([held, active], customer_id="acme")
    assert (mandate.status, mandate.at, mandate.customer_id) == (MandateStatus.ON_HOLD, day(1), "acme")
    assert (mandate.provider_customer, mandate.currency, mandate.method) == (
        "cus_1",
        "EUR",
        PaymentMethod(last4="4242"),
    )


def test_a_customer_is_what_was_last_seen() -> None:
    seen = CustomerObserved(at=day(0), ref=Ref("lago", "cus_1"), customer_id="acme", name="Old")
    assert project_customer([replace(seen, at=day(1), name="New"), seen]).name == "New"


# --- subscriptions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ([row(SubscriptionIncomplete)], SubscriptionStatus.INCOMPLETE),
        ([row(SubscriptionIncomplete), row(SubscriptionStarted, day(1))], SubscriptionStatus.ACTIVE),
        ([row(SubscriptionUpdated)], SubscriptionStatus.ACTIVE),
        ([row(SubscriptionIncomplete), row(SubscriptionCanceled, day(1))], SubscriptionStatus.CANCELED),
        ([row(SubscriptionStarted), row(SubscriptionSuperseded, day(1))], SubscriptionStatus.SUPERSEDED),
        ([row(SubscriptionStarted), row(SubscriptionEnded, day(1))], SubscriptionStatus.ENDED),
        ([row(SubscriptionEnded, day(1)), row(SubscriptionUpdated, day(2))], SubscriptionStatus.ENDED),
        ([row(SubscriptionStarted, trial_ends_at=day(14))], SubscriptionStatus.TRIALING),
        (
            [row(SubscriptionStarted, trial_ends_at=day(14)), row(SubscriptionTrialEnded, day(14))],
            SubscriptionStatus.ACTIVE,
        ),
        (
            [row(SubscriptionStarted, trial_ends_at=day(14)), row(SubscriptionTrialEnded, day(3))],
            SubscriptionStatus.ACTIVE,
        ),
        (
            [row(SubscriptionStarted, trial_ends_at=day(14)), row(SubscriptionUpdated, day(3))],
            SubscriptionStatus.TRIALING,
        ),
        (
            [row(SubscriptionStarted, trial_ends_at=day(14)), row(SubscriptionUpdated, day(20))],
            SubscriptionStatus.ACTIVE,
        ),
        (
            [row(SubscriptionStarted, trial_ends_at=day(14)), row(SubscriptionEnded, day(3))],
            SubscriptionStatus.ENDED,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_row_stands_where_its_facts_say(facts: list[Any], status: SubscriptionStatus) -> None:
    assert project_subscription(facts).status is status


def test_the_new_half_of_a_plan_change_knows_the_plan_before() -> None:
    subscription = project_subscription(
        [row(SubscriptionStarted, previous_plan="basic", trial_ends_at=day(14))]
    )
    assert (subscription.previous_plan, subscription.started_at, subscription.trial_ends_at) == (
        "basic",
        T0,
        day(14),
    )


def test_a_scheduled_end_that_is_taken_back_is_gone() -> None:
    period = Period(start=T0, end=day(31))
    scheduled = row(SubscriptionUpdated, day(1), ends_at=day(31), next_plan="basic", current_period=period)
    undone = row(SubscriptionUpdated, day(2), current_period=period)
    assert project_subscription([scheduled]).ends_at == day(31)
    subscription = project_subscription([undone, scheduled])
    assert (subscription.ends_at, subscription.next_plan, subscription.current_period) == (None, None, period)


def test_a_row_ended_when_that_was_first_said() -> None:
    assert project_subscription(
        [row(SubscriptionEnded, day(9)), row(SubscriptionSuperseded, day(7))]
    ).ended_at == day(7)


# --- invoices ------------------------------------------------------------------------------------------------------


def test_nothing_is_known_of_an_invoice_while_no_fact_says_what_it_amounts_to() -> None:
    assert (
        project_invoice([CollectionRequested(at=T0, ref=INVOICE), InvoiceVoided(at=T0, ref=INVOICE)]) is None
    )


def test_a_new_invoice_is_open() -> None:
    invoice = invoice_of()
    assert (invoice.balance, invoice.paid, invoice.payment_status) == (10_000, 0, PaymentStatus.PENDING)
    assert (invoice.status, invoice.engine_status) == (InvoiceStatus.FINALIZED, PaymentStatus.PENDING)


def test_an_invoice_nobody_told_us_the_start_of_is_known_from_what_was_observed() -> None:
    invoice = invoice_of(observed(due=4_000, paid=6_000))
    assert (invoice.kind, invoice.due, invoice.paid, invoice.balance) == ("unknown", 10_000, 6_000, 4_000)


def test_a_payment_closes_an_invoice_before_the_engine_knows() -> None:
    invoice = invoice_of(finalized(), observed(), payments=[a_payment()])
    assert (invoice.balance, invoice.payment_status) == (0, PaymentStatus.SUCCEEDED)
    assert invoice.engine_status is PaymentStatus.PENDING


def test_the_echo_of_our_own_record_is_not_counted_twice() -> None:
    echo = observed(at=day(2), due=0, paid=10_000, payment_status=PaymentStatus.SUCCEEDED)
    invoice = invoice_of(finalized(), echo, payments=[a_payment()])
    assert (invoice.due, invoice.paid, invoice.balance, invoice.flags) == (10_000, 10_000, 0, ())


def test_an_engine_may_call_an_invoice_paid_without_counting_a_payment() -> None:
    put = observed(at=day(2), payment_status=PaymentStatus.SUCCEEDED)
    invoice = invoice_of(finalized(), put)
    assert (invoice.paid, invoice.balance, invoice.payment_status) == (10_000, 0, PaymentStatus.SUCCEEDED)
    assert invoice_of(finalized(), put, payments=[a_payment()]).flags == ()


def test_an_engine_that_reopens_an_invoice_reopens_it() -> None:
    put = observed(at=day(2), payment_status=PaymentStatus.SUCCEEDED)
    assert invoice_of(finalized(), put, observed(at=day(3))).balance == 10_000


def test_within_one_second_being_paid_is_the_later_news() -> None:
    second = day(1)
    views = [
        observed(at=second, payment_status=PaymentStatus.FAILED),
        observed(at=second, due=0, paid=10_000, payment_status=PaymentStatus.SUCCEEDED),
        observed(at=second),
    ]
    assert invoice_of(*views).balance == 0


def test_a_partial_payment_leaves_the_rest_open() -> None:
    invoice = invoice_of(payments=[a_payment(applied=eur(4_000))])
    assert (invoice.paid, invoice.balance, invoice.payment_status) == (4_000, 6_000, PaymentStatus.PENDING)


def test_paying_twice_is_flagged_until_one_is_given_back() -> None:
    twice = [a_payment(1), a_payment(2)]
    assert invoice_of(payments=twice).flags == (OVERPAID,)
    assert invoice_of(payments=[twice[0], replace(twice[1], refunded=10_000)]).flags == ()


def test_a_refund_does_not_open_the_invoice_again() -> None:
    invoice = invoice_of(payments=[a_payment(refunded=10_000)])
    assert (invoice.balance, invoice.payment_status, invoice.disputed) == (0, PaymentStatus.SUCCEEDED, False)


def test_a_lost_dispute_opens_the_balance_although_the_engine_says_paid() -> None:
    echo = observed(at=day(2), due=0, paid=10_000, payment_status=PaymentStatus.SUCCEEDED)
    lost = payment_of(paid(), disputes=[dispute(DisputeStatus.LOST)])
    invoice = invoice_of(finalized(), echo, payments=[lost])
    assert (invoice.balance, invoice.paid, invoice.disputed) == (10_000, 0, True)
    assert (invoice.payment_status, invoice.engine_status) == (PaymentStatus.PENDING, PaymentStatus.SUCCEEDED)


def test_a_dispute_won_in_the_end_closes_it_again() -> None:
    won = payment_of(paid(), disputes=[dispute(DisputeStatus.WON)])
    assert (invoice_of(payments=[won]).balance, invoice_of(payments=[won]).disputed) == (0, False)


def test_a_dispute_settled_by_a_refund_does_not_open_it() -> None:
    given_back = payment_of(paid(), disputes=[dispute(DisputeStatus.LOST, by_refund=True)])
    assert (invoice_of(payments=[given_back]).balance, invoice_of(payments=[given_back]).disputed) == (
        0,
        False,
    )


def test_tax_put_on_top_is_not_lost_twice() -> None:
    lost = a_payment(amount=eur(11_900), disputed=11_900)
    assert invoice_of(payments=[lost]).balance == 10_000


def test_paying_again_after_a_lost_dispute_closes_the_invoice_and_is_no_overpayment() -> None:
    invoice = invoice_of(payments=[a_payment(1, disputed=10_000), a_payment(2)])
    assert (invoice.balance, invoice.disputed, invoice.flags) == (0, True, ())


def test_a_dispute_lost_at_the_engines_own_provider_opens_the_balance() -> None:
    lost = observed(
        at=day(5), due=0, paid=10_000, payment_status=PaymentStatus.SUCCEEDED, dispute_lost_at=day(4)
    )
    invoice = invoice_of(finalized(collected_by_engine=True), lost)
    assert (invoice.balance, invoice.disputed, invoice.collected_by_engine) == (10_000, True, True)


def test_what_we_collect_after_the_engine_lost_a_dispute_counts() -> None:
    lost = observed(
        at=day(5), due=0, paid=10_000, payment_status=PaymentStatus.SUCCEEDED, dispute_lost_at=day(4)
    )
    invoice = invoice_of(finalized(), lost, payments=[a_payment(6)])
    assert (invoice.balance, invoice.disputed) == (0, True)
    assert invoice_of(finalized(), lost, payments=[a_payment(3)]).balance == 10_000


def test_a_flagged_payment_neither_pays_nor_is_its_loss_charged() -> None:
    flagged = a_payment(2, flags=(AMOUNT_MISMATCH,), disputed=10_000)
    assert invoice_of(payments=[a_payment(1), flagged]).balance == 0


def test_a_payment_in_another_currency_is_not_counted() -> None:
    invoice = invoice_of(payments=[a_payment(applied=Money(10_000, "JPY"))])
    assert (invoice.balance, invoice.flags) == (10_000, (FOREIGN_CURRENCY,))


def test_a_dispute_of_a_payment_in_another_currency_costs_what_it_settled_to() -> None:
    lost = a_payment(amount=Money(51_600, "PLN"), disputed=51_600)
    assert invoice_of(payments=[lost]).balance == 10_000


@pytest.mark.parametrize(
    "void",
    [InvoiceVoided(at=day(1), ref=INVOICE), observed(status=InvoiceStatus.VOIDED)],
    ids=["voided", "seen void"],
)
def test_a_voided_invoice_asks_for_nothing_for_good(void: Event) -> None:
    invoice = invoice_of(finalized(), void, observed(at=day(2)))
    assert (invoice.status, invoice.balance, invoice.payment_status) == (
        InvoiceStatus.VOIDED,
        0,
        PaymentStatus.CANCELED,
    )
    assert invoice.flags == ()


def test_money_that_stays_on_a_voided_invoice_is_flagged() -> None:
    void = InvoiceVoided(at=day(1), ref=INVOICE)
    assert PAID_AFTER_VOID in invoice_of(finalized(), void, payments=[a_payment()]).flags
    assert invoice_of(finalized(), void, payments=[a_payment(refunded=10_000)]).flags == ()


def test_the_amounts_of_a_draft_give_way_to_those_of_the_document() -> None:
    draft = observed(at=day(-1), status=InvoiceStatus.DRAFT, total=1, due=1)
    assert invoice_of(draft).status is InvoiceStatus.DRAFT
    for facts in ([draft, finalized()], [draft, observed()], [replace(draft, at=day(9)), finalized()]):
        invoice = invoice_of(*facts)
        assert (invoice.status, invoice.due) == (InvoiceStatus.FINALIZED, 10_000)


def test_an_invoice_is_completed_from_all_that_was_said_of_it() -> None:
    thin = finalized(number=None)
    full = finalized(
        at=day(1),
        due=4_000,
        subscriptions=("acme-1",),
        period=Period(start=T0, end=day(31)),
        collected_by_engine=True,
    )
    invoice = invoice_of(thin, full)
    assert (invoice.number, invoice.due, invoice.finalized_at) == ("A-1", 10_000, T0)
    assert (invoice.subscriptions, invoice.period) == (("acme-1",), Period(start=T0, end=day(31)))
    assert invoice.collected_by_engine


def test_overdue_is_what_the_engine_says_while_something_is_open() -> None:
    late = observed(overdue=True)
    assert invoice_of(finalized(), late).overdue
    assert not invoice_of(finalized(), late, payments=[a_payment()]).overdue


@pytest.mark.parametrize(
    ("payments", "status"),
    [
        ([a_payment(1, PaymentStatus.FAILED)], PaymentStatus.FAILED),
        (
            [a_payment(1, PaymentStatus.FAILED), a_payment(2, PaymentStatus.PROCESSING)],
            PaymentStatus.PROCESSING,
        ),
        (
            [a_payment(1, PaymentStatus.PROCESSING), a_payment(2, PaymentStatus.FAILED)],
            PaymentStatus.PROCESSING,
        ),
        ([a_payment(1, PaymentStatus.FAILED), a_payment(2, PaymentStatus.CANCELED)], PaymentStatus.PENDING),
        ([a_payment(1, PaymentStatus.REQUIRES_ACTION)], PaymentStatus.REQUIRES_ACTION),
        ([a_payment(1, PaymentStatus.FAILED), a_payment(2)], PaymentStatus.SUCCEEDED),
        ([a_payment(1), a_payment(2, PaymentStatus.FAILED)], PaymentStatus.SUCCEEDED),
    ],
)
def test_the_paying_of_an_invoice_follows_its_payments(
    payments: list[Payment], status: PaymentStatus
) -> None:
    assert invoice_of(payments=payments).payment_status is status


def test_the_engines_own_failure_shows_until_it_sees_the_invoice_anew() -> None:
    failure = EngineCollectionFailed(at=day(2), ref=INVOICE, code="card_declined")
    assert invoice_of(finalized(), observed(at=day(1)), failure).payment_status is PaymentStatus.FAILED
    assert invoice_of(finalized(), failure).payment_status is PaymentStatus.FAILED
    assert invoice_of(finalized(), observed(at=day(3)), failure).payment_status is PaymentStatus.PENDING


def test_an_invoice_of_nothing_is_paid() -> None:
    assert invoice_of(finalized(total=0, due=0)).payment_status is PaymentStatus.SUCCEEDED


def test_an_undated_fact_cannot_be_put_in_order() -> None:
    with pytest.raises(ValueError, match="has no time"):
        project_customer([CustomerObserved(ref=Ref("lago", "cus_1"), customer_id="acme")])


# --- properties ----------------------------------------------------------------------------------------------------

FEW_INSTANTS = st.sampled_from([day(number) for number in range(4)])  # few, so that facts share one
EUR_ONLY = {
    "currency": st.just("EUR"),
    "amount": st.integers(0, 20_000).map(eur),
    "applied": st.integers(0, 20_000).map(eur),
}


def same_of(*kinds: type[Any]) -> st.SearchStrategy[Event]:
    """Facts of these kinds, all about one thing."""
    fixed = {"at": FEW_INSTANTS, "ref": st.just(PAYMENT), "payment": st.just(PAYMENT), **EUR_ONLY}
    return events(*kinds, **fixed)


SUBSCRIPTION_KINDS = (
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionUpdated,
    SubscriptionTrialEnded,
    SubscriptionSuperseded,
    SubscriptionCanceled,
    SubscriptionEnded,
)
PAYMENT_KINDS = (PaymentProcessing, PaymentSucceeded, PaymentFailed, PaymentCanceled)
INVOICE_KINDS = (
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceVoided,
    CollectionRequested,
    EngineCollectionFailed,
)
PAID_BY = [
    a_payment(1, PaymentStatus.FAILED),
    a_payment(2, applied=eur(3_000), disputed=500),
    a_payment(3, refunded=7),
]


def project_story(facts: Sequence[Any]) -> object:
    """An invoice, its payment, and what was taken back from it: the whole way the host goes."""
    refunds = [fact for fact in facts if isinstance(fact, RefundChanged)]
    disputes = [fact for fact in facts if isinstance(fact, DisputeChanged)]
    told = [fact for fact in facts if isinstance(fact, PAYMENT_KINDS)]
    payments = [
        payment_of(
            *told,
            refunds=[project_refund(refunds)] if refunds else [],
            disputes=[project_dispute(disputes)] if disputes else [],
        )
        for _ in told[:1]
    ]
    checked = [check_amount(payment, told, expected=eur(10_000)) for payment in payments]
    return project_invoice([fact for fact in facts if isinstance(fact, INVOICE_KINDS)], checked), checked


@pytest.mark.parametrize(
    ("project", "told"),
    [
        (project_subscription, same_of(*SUBSCRIPTION_KINDS)),
        (lambda facts: payment_of(*facts), same_of(*PAYMENT_KINDS)),
        (
            lambda facts: check_amount(payment_of(*facts), facts, expected=eur(10_000)),
            same_of(*PAYMENT_KINDS),
        ),
        (lambda facts: project_invoice(facts, PAID_BY), same_of(*INVOICE_KINDS)),
        (project_refund, same_of(RefundChanged)),
        (project_dispute, same_of(DisputeChanged)),
        (project_credit_note, same_of(CreditNoteIssued)),
        (lambda facts: project_mandate(facts, customer_id=None), same_of(MandateChanged)),
        (project_customer, same_of(CustomerObserved)),
        (project_story, same_of(*INVOICE_KINDS, *PAYMENT_KINDS, RefundChanged, DisputeChanged)),
    ],
    ids="subscription payment checked invoice refund dispute note mandate customer story".split(),
)
@given(data=st.data())
def test_neither_order_nor_repetition_of_facts_matters(
    project: Callable[[Sequence[Any]], object], told: st.SearchStrategy[Event], data: st.DataObject
) -> None:
    facts = data.draw(st.lists(told, min_size=1, max_size=8))
    repeated = facts + data.draw(st.lists(st.sampled_from(facts), max_size=4))
    assert project(data.draw(st.permutations(repeated))) == project(facts)


@given(facts=st.lists(same_of(*INVOICE_KINDS), min_size=1, max_size=6), shuffled=st.permutations(PAID_BY))
def test_the_order_of_an_invoices_payments_does_not_matter(facts: list[Any], shuffled: list[Payment]) -> None:
    assert project_invoice(facts, shuffled) == project_invoice(facts, PAID_BY)


@given(facts=st.lists(same_of(*INVOICE_KINDS), min_size=1, max_size=6))
def test_an_invoice_never_asks_for_more_than_was_due_nor_counts_below_nothing(facts: list[Any]) -> None:
    invoice = project_invoice(facts, PAID_BY)
    if invoice is None:
        return
    assert 0 <= invoice.balance <= invoice.due
    assert invoice.paid >= 0
    assert (invoice.payment_status is PaymentStatus.SUCCEEDED) == (
        invoice.balance == 0 and invoice.status is not InvoiceStatus.VOIDED
    )
