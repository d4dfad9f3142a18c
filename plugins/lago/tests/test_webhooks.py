"""What Lago's webhooks mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billhook.errors import PayloadInvalid
from billhook.events import (
    CollectionRequested,
    CreditNoteIssued,
    CustomerObserved,
    EngineCollectionFailed,
    Event,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceVoided,
    Refetch,
    SubscriptionCanceled,
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionTrialEnded,
    SubscriptionUpdated,
)
from billhook.hookspecs import ConnectionContext
from billhook.model import Address, InvoiceStatus, PaymentStatus, Period, Ref, RefundStatus
from billhook.money import Money
from billhook_lago.webhooks import LagoWebhooks, lago_webhooks

Connect = Callable[..., ConnectionContext]
Payload = Callable[[str], dict[str, Any]]

FIXTURES = Path(__file__).parent / "fixtures"
INVOICE = Ref("lago", "1a900006-1a90-4a90-9a90-1a901a901a90")
ROW = Ref("lago", "1a900004-1a90-4a90-9a90-1a901a901a90")
AGREEMENT: dict[str, Any] = {"external_id": "acct_1042-main", "customer_id": "acct_1042"}
PRO: dict[str, Any] = {"ref": ROW, "plan": "pro", **AGREEMENT}
AUGUST = Period(start=datetime(2026, 8, 1, tzinfo=UTC), end=datetime(2026, 9, 1, tzinfo=UTC))


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture
def source(connect: Connect) -> LagoWebhooks:
    return lago_webhooks(connect())


def _parse(source: LagoWebhooks, envelope: dict[str, Any]) -> Sequence[Event | Refetch]:
    return source.parse(json.dumps(envelope).encode())


# --- meaning -----------------------------------------------------------------------------------------------------


def test_a_customer_is_observed(source: LagoWebhooks, payload: Payload) -> None:
    assert _parse(source, payload("customer.updated")) == [
        CustomerObserved(
            at=_at("2026-08-15T10:00:00Z"),
            ref=Ref("lago", "1a900001-1a90-4a90-9a90-1a901a901a90"),
            customer_id="acct_1042",
            name="Acme & Sons",
            email="ap@acme.example",
            address=Address(line1="12 Dock Street", city="Dublin", postal_code="D02 XY00", country="IE"),
            tax_id="IE6388047V",
            currency="EUR",
            locale="en",
            timezone="Europe/Dublin",
            provider_ids={"dodo": "cus_9f3XkQ"},
        )
    ]


def test_a_person_without_a_company_name_is_called_by_their_own(
    source: LagoWebhooks, payload: Payload
) -> None:
    envelope = payload("customer.created")
    envelope["customer"] |= {"name": None, "metadata": [{"key": "_customer_id", "value": "x"}]}
    (seen,) = _parse(source, envelope)
    assert isinstance(seen, CustomerObserved)
    assert (seen.name, seen.provider_ids) == ("Ada Byrne", {})


def test_the_customer_of_lagos_own_payment_provider_is_the_customer_there(
    source: LagoWebhooks, payload: Payload
) -> None:
    envelope = payload("customer.updated")
    envelope["customer"]["billing_configuration"] |= {
        "payment_provider": "stripe",
        "provider_customer_id": "cus_lago",
    }
    (seen,) = _parse(source, envelope)
    assert isinstance(seen, CustomerObserved)
    assert seen.provider_ids == {"dodo": "cus_9f3XkQ", "stripe": "cus_lago"}


@pytest.mark.parametrize("name", ["subscription.started", "subscription.created"])
def test_a_start_is_a_start_and_how_it_stands(source: LagoWebhooks, payload: Payload, name: str) -> None:
    start = _at("2026-08-01T00:00:00Z")
    assert _parse(source, payload("subscription.started") | {"webhook_type": name}) == [
        SubscriptionStarted(at=start, trial_ends_at=start + timedelta(days=14), **PRO),
        SubscriptionUpdated(current_period=AUGUST, **PRO),
    ]


def test_the_new_half_of_an_upgrade_names_the_old_plan_and_no_trial(
    source: LagoWebhooks, payload: Payload
) -> None:
    start, _ = _parse(source, payload("subscription.started__upgrade_new_half"))
    assert isinstance(start, SubscriptionStarted)
    assert (start.previous_plan, start.trial_ends_at, start.plan) == ("starter", None, "pro")
    assert start.ref.id == "1a900005-1a90-4a90-9a90-1a901a901a90"


def test_a_trial_that_is_over_does_not_end_later(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("subscription.started")
    envelope["subscription"]["trial_ended_at"] = "2026-08-15T00:00:00Z"
    start, _ = _parse(source, envelope)
    assert isinstance(start, SubscriptionStarted)
    assert start.trial_ends_at is None


def test_a_subscription_made_for_later_means_nothing_yet(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("subscription.started") | {"webhook_type": "subscription.created"}
    envelope["subscription"] |= {"status": "pending", "started_at": None}
    assert _parse(source, envelope) == []


def test_an_update_says_what_is_scheduled(source: LagoWebhooks, payload: Payload) -> None:
    assert _parse(source, payload("subscription.updated")) == [
        SubscriptionUpdated(current_period=AUGUST, next_plan="starter", next_plan_on=date(2026, 9, 1), **PRO)
    ]
    envelope = payload("subscription.updated")
    envelope["subscription"] |= {"next_plan_code": None, "ending_at": "2026-09-04T00:00:00Z"}
    (update,) = _parse(source, envelope)
    assert isinstance(update, SubscriptionUpdated)
    assert update.ends_at == _at("2026-09-04T00:00:00Z")


def test_the_trials_end_is_dated(source: LagoWebhooks, payload: Payload) -> None:
    assert _parse(source, payload("subscription.trial_ended")) == [
        SubscriptionTrialEnded(at=_at("2026-07-15T00:00:00Z"), **PRO)
    ]


def test_a_subscription_waiting_for_its_payment_is_incomplete(source: LagoWebhooks, payload: Payload) -> None:
    assert _parse(source, payload("subscription.incomplete")) == [
        SubscriptionIncomplete(at=_at("2026-08-01T00:00:00Z"), **PRO)
    ]


def test_a_failed_activation_cancels(source: LagoWebhooks, payload: Payload) -> None:
    assert _parse(source, payload("subscription.canceled")) == [
        SubscriptionCanceled(at=_at("2026-08-01T00:02:00Z"), reason="payment_failed", **PRO)
    ]


@pytest.mark.parametrize(
    "over",
    [
        {"status": "terminated", "terminated_at": "2026-08-20T14:02:11Z"},
        {"activated_at": "2026-07-01T00:00:00Z", "canceled_at": "2026-08-20T14:02:11Z"},
    ],
)
def test_the_older_name_for_an_end_is_an_end(
    source: LagoWebhooks, payload: Payload, over: dict[str, str]
) -> None:
    envelope = payload("subscription.canceled")
    envelope["subscription"] |= over
    (look,) = _parse(source, envelope)
    assert isinstance(look, Refetch)
    assert (look.kind, look.hints["ended_at"]) == ("subscription_end", "2026-08-20T14:02:11+00:00")


def test_a_pending_downgrade_called_off_cancels_only_its_own_row(
    source: LagoWebhooks, payload: Payload
) -> None:
    assert _parse(source, payload("subscription.terminated__pending_downgrade_canceled")) == [
        SubscriptionCanceled(
            at=_at("2026-08-18T09:00:00Z"),
            ref=Ref("lago", "1a900005-1a90-4a90-9a90-1a901a901a90"),
            plan="starter",
            **AGREEMENT,
        )
    ]


def test_a_termination_asks_whether_it_was_an_end(source: LagoWebhooks, payload: Payload) -> None:
    hints = {
        "lago_id": ROW.id,
        "customer_id": "acct_1042",
        "plan": "starter",
        "ended_at": "2026-08-20T14:02:11+00:00",
        "reason": "",
    }
    assert _parse(source, payload("subscription.terminated__upgrade_old_half")) == [
        Refetch(kind="subscription_end", id="acct_1042-main", hints=hints)
    ]


PAYER = CustomerObserved(
    at=_at("2026-06-01T08:00:00Z"),
    ref=Ref("lago", "1a900001-1a90-4a90-9a90-1a901a901a90"),
    customer_id="acct_1042",
    name="Acme & Sons",
    email="billing@acme.example",
    address=Address(line1="12 Dock Street", city="Dublin", postal_code="D02 XY00", country="IE"),
    tax_id="IE6388047V",
    currency="EUR",
    locale="en",
    timezone="Europe/Dublin",
    provider_ids={"dodo": "cus_9f3XkQ"},
)
FINALIZED = InvoiceFinalized(
    at=_at("2026-08-01T00:10:03Z"),
    ref=INVOICE,
    customer_id="acct_1042",
    number="HOO-1234-042-003",
    currency="EUR",
    total=5880,
    taxes=980,
    due=5880,
    issued_on=date(2026, 8, 1),
    due_on=date(2026, 8, 1),
    subscriptions=("acct_1042-main",),
    period=AUGUST,
)
OBSERVED: dict[str, Any] = {
    "ref": INVOICE,
    "customer_id": "acct_1042",
    "number": "HOO-1234-042-003",
    "status": InvoiceStatus.FINALIZED,
    "currency": "EUR",
    "total": 5880,
}
OPEN = InvoiceObserved(
    at=_at("2026-08-01T00:10:04Z"), payment_status=PaymentStatus.PENDING, due=5880, paid=0, **OBSERVED
)


@pytest.mark.parametrize("name", ["invoice.created", "invoice.one_off_created", "invoice.paid_credit_added"])
def test_an_invoice_is_due_by_any_of_three_names(source: LagoWebhooks, payload: Payload, name: str) -> None:
    assert _parse(source, payload("invoice.created") | {"webhook_type": name}) == [FINALIZED, OPEN, PAYER]


def test_a_payer_without_an_id_or_time_says_too_little(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("invoice.created")
    for name in ("lago_id", "updated_at"):
        del envelope["invoice"]["customer"][name]
        assert _parse(source, envelope) == [FINALIZED, OPEN]


def test_an_invoice_lago_collects_itself_says_so(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("invoice.created")
    envelope["invoice"]["customer"]["billing_configuration"]["payment_provider"] = "stripe"
    final, *_ = _parse(source, envelope)
    assert isinstance(final, InvoiceFinalized)
    assert final.collected_by_engine


def test_what_was_paid_before_we_heard_belongs_to_what_was_due(
    source: LagoWebhooks, payload: Payload
) -> None:
    envelope = payload("invoice.created")
    envelope["invoice"] |= {"total_due_amount_cents": 4880, "total_paid_amount_cents": 1000}
    final, seen, _ = _parse(source, envelope)
    assert isinstance(final, InvoiceFinalized)
    assert isinstance(seen, InvoiceObserved)
    assert (final.due, seen.due, seen.paid) == (5880, 4880, 1000)


def test_an_older_release_that_does_not_say_what_is_due_owes_the_total(
    source: LagoWebhooks, payload: Payload
) -> None:
    envelope = payload("invoice.created")
    for name in ("total_due_amount_cents", "total_paid_amount_cents", "billing_periods", "subscriptions"):
        del envelope["invoice"][name]
    final, *_ = _parse(source, envelope)
    assert isinstance(final, InvoiceFinalized)
    assert (final.due, final.period, final.subscriptions) == (5880, None, ("acct_1042-main",))


def test_a_draft_means_nothing_yet(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("invoice.created")
    envelope["invoice"]["status"] = "draft"
    assert _parse(source, envelope) == []


@pytest.mark.parametrize(
    ("name", "status", "due", "paid"),
    [
        ("invoice.payment_status_updated", PaymentStatus.SUCCEEDED, 0, 5880),
        ("invoice.payment_status_updated__put_without_payment", PaymentStatus.SUCCEEDED, 5880, 0),
        ("invoice.payment_status_updated__failed", PaymentStatus.FAILED, 5880, 0),
    ],
)
def test_a_changed_payment_status_is_observed(
    source: LagoWebhooks, payload: Payload, name: str, status: PaymentStatus, due: int, paid: int
) -> None:
    envelope = payload(name)
    at = _at(envelope["invoice"]["updated_at"])
    assert _parse(source, envelope) == [
        InvoiceObserved(at=at, payment_status=status, due=due, paid=paid, **OBSERVED)
    ]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("invoice.payment_succeeded", PaymentStatus.SUCCEEDED),
        ("invoice.payment_failed", PaymentStatus.FAILED),
        ("invoice.payment_failure", PaymentStatus.FAILED),
    ],
)
def test_older_names_around_a_whole_invoice_say_how_the_payment_went(
    source: LagoWebhooks, payload: Payload, name: str, status: PaymentStatus
) -> None:
    (seen,) = _parse(source, payload("invoice.created") | {"webhook_type": name})
    assert isinstance(seen, InvoiceObserved)
    assert (seen.ref, seen.payment_status) == (INVOICE, status)


def test_an_overdue_invoice_is_observed_overdue(source: LagoWebhooks, payload: Payload) -> None:
    (seen,) = _parse(source, payload("invoice.payment_overdue"))
    assert isinstance(seen, InvoiceObserved)
    assert seen.overdue


def test_a_lost_dispute_is_observed_when_it_was_lost(source: LagoWebhooks, payload: Payload) -> None:
    lost_at = _at("2026-08-25T11:00:00Z")
    expected = InvoiceObserved(
        at=lost_at,
        payment_status=PaymentStatus.SUCCEEDED,
        due=0,
        paid=5880,
        dispute_lost_at=lost_at,
        **OBSERVED,
    )
    nested = payload("invoice.payment_dispute_lost")
    assert _parse(source, nested) == [expected]
    flat = nested["payment_dispute_lost"]["invoice"]  # as the published schema has it
    assert _parse(source, nested | {"object_type": "invoice", "invoice": flat}) == [expected]


def test_a_void_is_observed_and_dated(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("invoice.created") | {"webhook_type": "invoice.voided"}
    envelope["invoice"] |= {"status": "voided", "voided_at": "2026-08-03T09:00:00Z"}
    seen, void = _parse(source, envelope)
    assert isinstance(seen, InvoiceObserved)
    assert seen.status is InvoiceStatus.VOIDED
    assert void == InvoiceVoided(at=_at("2026-08-03T09:00:00Z"), ref=INVOICE)


def test_a_deleted_draft_is_not_due(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("invoice.created") | {"webhook_type": "invoice.deleted"}
    assert _parse(source, envelope) == [InvoiceVoided(at=_at("2026-08-01T00:10:04Z"), ref=INVOICE)]


def test_a_decline_at_lagos_own_provider_is_a_failure_and_a_look(
    source: LagoWebhooks, payload: Payload
) -> None:
    for name in ("invoice.payment_failure", "invoice.payment_failed"):
        assert _parse(source, payload("invoice.payment_failure") | {"webhook_type": name}) == [
            EngineCollectionFailed(
                ref=INVOICE, customer_id="acct_1042", provider="stripe", code="card_declined"
            ),
            Refetch(kind="invoice", id=INVOICE.id),
        ]


def test_a_retry_without_a_provider_asks_us_to_collect(source: LagoWebhooks, payload: Payload) -> None:
    assert _parse(source, payload("invoice.payment_failure__no_provider_on_retry")) == [
        CollectionRequested(ref=INVOICE, customer_id="acct_1042")
    ]


def _credit_note(**over: Any) -> CreditNoteIssued:
    values: dict[str, Any] = {
        "at": _at("2026-08-10T12:00:00Z"),
        "ref": Ref("lago", "1a900009-1a90-4a90-9a90-1a901a901a90"),
        "invoice": INVOICE,
        "number": "HOO-1234-042-003-CN001",
        "amount": Money(1176, "EUR"),
        "refund": 1176,
        "refund_status": RefundStatus.PENDING,
        "reason": "order_change",
    }
    return CreditNoteIssued(**(values | over))


def test_a_credit_note_asks_for_its_refund(source: LagoWebhooks, payload: Payload) -> None:
    assert _parse(source, payload("credit_note.created")) == [_credit_note()]


def test_our_own_credit_note_names_the_refund_it_documents(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("credit_note.created")
    envelope["credit_note"]["metadata"] = {"billhook_refund": "dodo:ref_1"}
    assert _parse(source, envelope) == [_credit_note(for_refund=Ref("dodo", "ref_1"))]
    envelope["credit_note"]["metadata"] = {"billhook_refund": "scribble"}
    assert _parse(source, envelope) == [_credit_note()]


def test_a_refund_lago_makes_itself_is_not_ours(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("credit_note.created")
    envelope["credit_note"]["customer"]["billing_configuration"]["payment_provider"] = "gocardless"
    assert _parse(source, envelope) == [_credit_note(engine_refunds=True)]


def test_a_refund_that_failed_at_lagos_provider_is_looked_at(source: LagoWebhooks, payload: Payload) -> None:
    assert _parse(source, payload("credit_note.refund_failure")) == [
        Refetch(kind="credit_note", id="1a900009-1a90-4a90-9a90-1a901a901a90")
    ]


SILENT = [
    "dunning_campaign.finished",
    "invoice.generated",
    "payment.requires_action",
    "payment.succeeded",
    "subscription.termination_alert",
    "wallet.depleted_ongoing_balance",
]


@pytest.mark.parametrize("name", SILENT)
def test_what_changes_nothing_for_us_says_nothing(source: LagoWebhooks, payload: Payload, name: str) -> None:
    assert _parse(source, payload(name)) == []


@pytest.mark.parametrize(
    "name", ["invoice.invented", "customer.vies_check", "credit_note.generated", "x", "a.b.c"]
)
def test_an_unknown_type_says_nothing(source: LagoWebhooks, name: str) -> None:
    assert _parse(source, {"webhook_type": name}) == []


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.*.json")), ids=lambda path: path.stem)
def test_every_stored_body_is_read_the_same_twice(source: LagoWebhooks, path: Path) -> None:
    body = path.read_bytes()
    named = path.stem.partition("__")[0]
    first = source.parse(body)
    assert list(first) == list(source.parse(body))
    assert bool(first) == (named not in SILENT)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("invoice.created", "total_amount_cents", True),
        ("invoice.created", "total_due_amount_cents", "5880"),
        ("invoice.created", "total_paid_amount_cents", 1.0),
        ("invoice.created", "total_amount_cents", None),
        ("invoice.created", "currency", ""),
        ("invoice.created", "status", "half_done"),
        ("invoice.created", "payment_status", "maybe"),
        ("invoice.created", "created_at", "2026-08-01T00:10:03"),
        ("invoice.created", "updated_at", "2026-08-01"),
        ("invoice.created", "issuing_date", "tomorrow"),
        ("invoice.created", "payment_overdue", "no"),
        ("invoice.created", "customer", None),
        ("invoice.created", "fees", "none"),
        ("subscription.started", "status", "asleep"),
        ("subscription.started", "lago_id", 7),
        ("subscription.started", "started_at", "yesterday"),
        ("customer.created", "external_id", None),
        ("credit_note.created", "refund_status", "lost"),
        ("credit_note.created", "currency", "EURO"),
        ("credit_note.created", "lago_invoice_id", None),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(
    source: LagoWebhooks, payload: Payload, name: str, field: str, value: Any
) -> None:
    envelope = payload(name)
    envelope[envelope["object_type"]][field] = value
    with pytest.raises(PayloadInvalid, match=field):
        _parse(source, envelope)


@pytest.mark.parametrize("envelope", [{}, {"webhook_type": ""}, {"webhook_type": "invoice.created"}])
def test_a_webhook_without_type_or_object_cannot_be_read(
    source: LagoWebhooks, envelope: dict[str, Any]
) -> None:
    with pytest.raises(PayloadInvalid):
        _parse(source, envelope)
