"""What Lago's webhooks mean, and which of them are believed."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billhook.errors import PayloadInvalid, Permanent, SignatureInvalid, Temporary
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
    SubscriptionEnded,
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionSuperseded,
    SubscriptionTrialEnded,
    SubscriptionUpdated,
)
from billhook.hookspecs import ConnectionContext
from billhook.model import Address, InvoiceStatus, PaymentStatus, Period, Ref, RefundStatus
from billhook.money import Money
from billhook.provider import Delivery, WebhookRequest, WebhookSource
from billhook.signing import HmacSha256
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.sandbox import LagoSandbox
from billhook_lago.webhooks import LagoWebhooks, lago_webhooks

Connect = Callable[..., ConnectionContext]
Payload = Callable[[str], dict[str, Any]]

FIXTURES = Path(__file__).parent / "fixtures"
VECTORS = json.loads((FIXTURES / "signature_vectors.json").read_text())
ORGANIZATION = "1a900000-1a90-4a90-9a90-1a901a901a90"
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
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


# --- signatures --------------------------------------------------------------------------------------------------


class Keys:
    """A Lago that answers with the vectors' public key and an organisation, counting how often it is asked."""

    def __init__(self, *, organization_id: str = ORGANIZATION, up: bool = True) -> None:
        self.organization_id = organization_id
        self.up = up
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"].removeprefix("/api/v1")
        self.asked.append(path)
        answers = {
            "/webhooks/json_public_key": VECTORS["json_public_key_response"],
            "/organizations": {"organization": {"lago_id": self.organization_id}},
        }
        start_response("200 OK" if self.up else "503 Down", [("Content-Type", "application/json")])
        return [json.dumps(answers[path]).encode()]


def _request(vector: dict[str, Any], algorithm: str) -> WebhookRequest:
    headers = {name.lower(): value for name, value in vector[f"headers_{algorithm}"].items()}
    return WebhookRequest(headers=headers, body=vector["raw_body"].encode())


def _signed(body: bytes, *, key: str = "k-1", secret: str = "lago-sandbox-hmac-key") -> WebhookRequest:
    signature = HmacSha256([secret], encoding="base64").sign(body)
    return WebhookRequest(headers={"x-lago-signature": signature, "x-lago-unique-key": key}, body=body)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["fixture"])
def test_every_hmac_vector_is_accepted_and_any_other_byte_refused(
    connect: Connect, vector: dict[str, Any]
) -> None:
    source = lago_webhooks(connect(webhook_secret=f"older,{VECTORS['hmac_key']}"))
    request = _request(vector, "hmac")
    delivery = source.verify(request, now=NOW)
    assert delivery.key == vector["headers_hmac"]["X-Lago-Unique-Key"]
    assert delivery.type == json.loads(vector["raw_body"])["webhook_type"]
    with pytest.raises(SignatureInvalid):
        source.verify(WebhookRequest(headers=request.headers, body=request.body + b" "), now=NOW)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["fixture"])
def test_every_jwt_vector_is_accepted_and_any_other_byte_refused(
    connect: Connect, vector: dict[str, Any]
) -> None:
    source = lago_webhooks(connect(app=Keys(), webhook_algorithm="jwt", webhook_secret=""))
    request = _request(vector, "jwt")
    assert source.verify(request, now=NOW).type == json.loads(vector["raw_body"])["webhook_type"]
    with pytest.raises(SignatureInvalid):
        source.verify(WebhookRequest(headers=request.headers, body=request.body + b" "), now=NOW)


def test_the_header_cannot_choose_the_algorithm(connect: Connect) -> None:
    vector = VECTORS["vectors"][0]
    hmac = lago_webhooks(connect(webhook_secret=VECTORS["hmac_key"]))
    with pytest.raises(SignatureInvalid):
        hmac.verify(_request(vector, "jwt"), now=NOW)
    jwt = lago_webhooks(connect(app=Keys(), webhook_algorithm="jwt"))
    with pytest.raises(SignatureInvalid):
        jwt.verify(_request(vector, "hmac"), now=NOW)


def test_the_instance_key_is_fetched_once_and_the_organisation_with_it(connect: Connect) -> None:
    server = Keys()
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt"))
    assert server.asked == []
    for vector in VECTORS["vectors"]:
        source.verify(_request(vector, "jwt"), now=NOW)
    assert server.asked == ["/webhooks/json_public_key", "/organizations"]


def test_a_jwt_of_another_organisation_of_the_same_instance_is_refused(connect: Connect) -> None:
    server = Keys(organization_id="somebody-else")
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt"))
    with pytest.raises(SignatureInvalid, match="another Lago organisation"):
        source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW)


def test_the_configured_organisation_counts_and_is_not_fetched(connect: Connect) -> None:
    server = Keys(organization_id="somebody-else")
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt", organization_id=ORGANIZATION))
    source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW)
    assert server.asked == ["/webhooks/json_public_key"]


def test_a_key_that_cannot_be_fetched_is_temporary_and_asked_for_again(connect: Connect) -> None:
    server = Keys(up=False)
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt"))
    with pytest.raises(Temporary, match="cannot be fetched"):
        source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW)
    server.up = True
    assert source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW).key


def test_with_hmac_the_organisation_is_checked_when_configured(connect: Connect) -> None:
    body = json.dumps({"webhook_type": "plan.created", "organization_id": ORGANIZATION}).encode()
    assert lago_webhooks(connect(organization_id=ORGANIZATION)).verify(_signed(body), now=NOW)
    with pytest.raises(SignatureInvalid, match="another Lago organisation"):
        lago_webhooks(connect(organization_id="ours")).verify(_signed(body), now=NOW)


def test_what_the_sandbox_signs_is_accepted_with_either_algorithm(
    connect: Connect, sandbox: LagoSandbox, receiver: Any
) -> None:
    sandbox.send("plan.created", {"code": "pro"})
    sandbox.deliver_webhooks()
    headers = {name.lower(): value for name, value in receiver.headers[0].items()}
    delivery = lago_webhooks(connect()).verify(
        WebhookRequest(headers=headers, body=receiver.bodies[0]), now=NOW
    )
    assert delivery.type == "plan.created"


@pytest.mark.parametrize("signature", [None, "", "?", "é", "eyJhbGciOiJub25lIn0.e30."])
@pytest.mark.parametrize("algorithm", ["hmac", "jwt"])
def test_no_signature_and_a_nonsense_one_are_refused(
    connect: Connect, algorithm: str, signature: str | None
) -> None:
    source = lago_webhooks(connect(app=Keys(), webhook_algorithm=algorithm))
    headers = {} if signature is None else {"x-lago-signature": signature}
    with pytest.raises(SignatureInvalid):
        source.verify(WebhookRequest(headers=headers, body=b"{}"), now=NOW)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b'{"webhook_type": 1}', b"[" * 100_000])
def test_a_broken_body_that_is_signed_is_a_delivery_that_cannot_be_read(
    source: LagoWebhooks, body: bytes
) -> None:
    delivery = source.verify(_signed(body), now=NOW)
    assert (delivery.key, delivery.type) == ("k-1", "")
    with pytest.raises(PayloadInvalid):
        source.parse(body)


# --- dedupe ------------------------------------------------------------------------------------------------------


def _delivery(
    source: LagoWebhooks, envelope: dict[str, Any], *, key: str = "k-1", at: datetime = NOW
) -> Delivery:
    return source.verify(_signed(json.dumps(envelope).encode(), key=key), now=at)


@pytest.mark.parametrize(
    "name", ["invoice.created", "customer.updated", "subscription.started", "invoice.payment_dispute_lost"]
)
def test_one_event_under_two_unique_keys_is_known_by_its_body(
    source: LagoWebhooks, payload: Payload, name: str
) -> None:
    first = _delivery(source, payload(name), key="k-1")
    second = _delivery(source, payload(name), key="k-2", at=NOW + timedelta(days=1))
    assert first.key != second.key
    assert first.content_key == second.content_key is not None


def test_two_equal_failures_count_once_in_ten_minutes(source: LagoWebhooks, payload: Payload) -> None:
    failure = payload("invoice.payment_failure")
    first = _delivery(source, failure)
    soon = _delivery(source, failure, at=NOW + timedelta(minutes=9))
    later = _delivery(source, failure, at=NOW + timedelta(minutes=10))
    assert first.content_key == soon.content_key != later.content_key


def test_an_update_of_a_subscription_is_known_by_its_unique_key_alone(
    source: LagoWebhooks, payload: Payload
) -> None:
    assert _delivery(source, payload("subscription.updated")).content_key is None


@pytest.mark.parametrize("key", ["", "x" * 201, "a b", "a\nb"])
def test_without_a_usable_unique_key_the_body_is_the_key(source: LagoWebhooks, key: str) -> None:
    delivery = source.verify(_signed(b"{}", key=key), now=NOW)
    assert len(delivery.key) == 64


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
    assert _parse(source, payload("invoice.created") | {"webhook_type": name}) == [FINALIZED, OPEN]


def test_an_invoice_lago_collects_itself_says_so(source: LagoWebhooks, payload: Payload) -> None:
    envelope = payload("invoice.created")
    envelope["invoice"]["customer"]["billing_configuration"]["payment_provider"] = "stripe"
    final, _ = _parse(source, envelope)
    assert isinstance(final, InvoiceFinalized)
    assert final.collected_by_engine


def test_what_was_paid_before_we_heard_belongs_to_what_was_due(
    source: LagoWebhooks, payload: Payload
) -> None:
    envelope = payload("invoice.created")
    envelope["invoice"] |= {"total_due_amount_cents": 4880, "total_paid_amount_cents": 1000}
    final, seen = _parse(source, envelope)
    assert isinstance(final, InvoiceFinalized)
    assert isinstance(seen, InvoiceObserved)
    assert (final.due, seen.due, seen.paid) == (5880, 4880, 1000)


def test_an_older_release_that_does_not_say_what_is_due_owes_the_total(
    source: LagoWebhooks, payload: Payload
) -> None:
    envelope = payload("invoice.created")
    for name in ("total_due_amount_cents", "total_paid_amount_cents", "billing_periods", "subscriptions"):
        del envelope["invoice"][name]
    final, _ = _parse(source, envelope)
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


# --- looking again -----------------------------------------------------------------------------------------------


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
    final, seen = source.refetch(Refetch(kind="invoice", id=invoice["lago_id"]))
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


def test_the_public_key_in_the_vectors_is_the_one_lago_would_send() -> None:
    encoded = VECTORS["json_public_key_response"]["webhook"]["public_key"].replace("\n", "")
    assert encoded == b64encode(VECTORS["public_key_pem"].encode()).decode()
