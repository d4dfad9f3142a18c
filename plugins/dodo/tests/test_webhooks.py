"""What each body Dodo may send means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billhook.errors import NotFound, PayloadInvalid, SignatureInvalid
from billhook.events import (
    DisputeChanged,
    MandateChanged,
    PaymentCanceled,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    Refetch,
    RefundChanged,
)
from billhook.model import (
    DeclineClass,
    DisputeStatus,
    MandateStatus,
    PaymentMethod,
    Ref,
    RefundStatus,
)
from billhook.money import Money
from billhook.provider import WebhookRequest
from billhook.signing import StandardWebhooks
from billhook.testing.connection import make_collect_request
from billhook_dodo.provider import DodoPayments
from billhook_dodo.sandbox import WEBHOOK_SECRET
from billhook_dodo.webhooks import DodoWebhooks

FIXTURES = Path(__file__).parent / "fixtures"
NOW = datetime(2026, 9, 1, 10, tzinfo=UTC)
EVENT_AT = datetime(2026, 9, 1, 10, 0, 21, tzinfo=UTC)
UPDATED_AT = datetime(2026, 9, 1, 10, 0, 20, tzinfo=UTC)
PAYMENT = Ref("dodo", "pay_BhTest0001")
METADATA = {
    "lago_invoice_id": "5f1e2d3c-4b5a-4968-8776-655443322110",
    "lago_invoice_number": "BHK-2026-0042",
    "billhook_key": "lago-inv-5f1e2d3c-4b5a-4968-8776-655443322110",
}
CARD = PaymentMethod(kind="card", brand="visa", last4="4242", expires="2032-06")
CARRIES_NO_FACT = sorted(
    path.relative_to(FIXTURES).as_posix().removesuffix(".json")
    for pattern in ("payout.*", "dunning.*", "abandoned_checkout.*", "edge/unknown.*")
    for path in FIXTURES.glob(pattern)
)


@pytest.fixture
def source(context) -> DodoWebhooks:
    return DodoWebhooks.connect(context())


@pytest.fixture
def said(source):
    """What a fixture means, with properties of ``data`` changed."""

    def parse(name: str, **changes: Any) -> list[Any]:
        return list(source.parse(body_of(name, **changes)))

    return parse


def body_of(name: str, **changes: Any) -> bytes:
    event = json.loads((FIXTURES / f"{name}.json").read_bytes())
    event["data"] |= changes
    return json.dumps(event).encode()


def only(facts: list[Any]) -> Any:
    assert len(facts) == 1
    return facts[0]


# --- verify ----------------------------------------------------------------------------------------------------


def signed(body: bytes, *, webhook_id: str = "msg_1", secret: str = WEBHOOK_SECRET) -> WebhookRequest:
    return WebhookRequest(
        headers=StandardWebhooks([secret]).sign(body, webhook_id=webhook_id, at=NOW), body=body
    )


def test_the_same_id_with_a_newer_body_is_another_delivery(source):
    first = source.verify(signed(body_of("payment.processing")), now=NOW)
    newer = source.verify(signed(body_of("payment.succeeded")), now=NOW)
    again = source.verify(signed(body_of("payment.processing")), now=NOW + timedelta(minutes=1))
    assert first.key.startswith("msg_1:")
    assert first == again
    assert first.key != newer.key
    assert newer.type == "payment.succeeded"


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"type": 7}', b"[" * 100_000])
def test_a_signed_body_without_a_type_is_a_delivery_all_the_same(source, body: bytes):
    assert source.verify(signed(body), now=NOW).type == ""


def test_either_secret_is_taken_while_one_is_rotated(context):
    new = "whsec_YW5vdGhlci1zZWNyZXQtd2hpbGUtcm90YXRpbmcx"
    source = DodoWebhooks.connect(context(webhook_secret=f"{WEBHOOK_SECRET},{new}"))
    assert source.verify(signed(b"{}"), now=NOW).key == source.verify(signed(b"{}", secret=new), now=NOW).key


def test_another_secret_is_refused(source):
    with pytest.raises(SignatureInvalid):
        source.verify(signed(b"{}", secret="whsec_YW5vdGhlci1zZWNyZXQtd2hpbGUtcm90YXRpbmcx"), now=NOW)


# --- payments --------------------------------------------------------------------------------------------------


def test_a_payment_that_succeeded_is_told_whole(said):
    assert said("payment.succeeded") == [
        PaymentSucceeded(
            at=UPDATED_AT,
            ref=PAYMENT,
            amount=Money(12000, "EUR"),
            applied=Money(12000, "EUR"),
            metadata=METADATA,
            session="cks_BhTest0001",
            provider_customer="cus_BhTest0001",
            method=CARD,
        )
    ]


def test_a_declined_payment_says_why(said):
    fact = only(said("payment.failed"))
    assert isinstance(fact, PaymentFailed)
    assert (fact.decline.code, fact.decline.kind, fact.decline.sensitive) == (
        "INSUFFICIENT_FUNDS",
        DeclineClass.SOFT,
        False,
    )
    assert fact.method is not None
    assert fact.method.last4 == "9995"


@pytest.mark.parametrize(
    ("code", "kind", "sensitive"),
    [
        ("DO_NOT_HONOR", DeclineClass.HARD, False),
        ("EXPIRED_CARD", DeclineClass.HARD, False),
        ("STOLEN_CARD", DeclineClass.HARD, True),
        ("FRAUDULENT", DeclineClass.HARD, True),
        ("AUTHENTICATION_FAILURE", DeclineClass.AUTHENTICATION, False),
        ("GENERIC_DECLINE", DeclineClass.SOFT, False),
        ("A_CODE_OF_2027", DeclineClass.SOFT, False),
        (None, DeclineClass.SOFT, False),
    ],
)
def test_a_decline_code_tells_whether_to_try_again(
    said, code: str | None, kind: DeclineClass, *, sensitive: bool
):
    decline = only(said("payment.failed", error_code=code)).decline
    assert (decline.kind, decline.sensitive) == (kind, sensitive)
    assert decline.code == (code or "UNSTATED")


def test_what_counts_is_the_status_and_not_the_events_name(said):
    assert isinstance(only(said("edge/payment.failed.late_delivery_status_succeeded")), PaymentSucceeded)
    assert isinstance(only(said("payment.succeeded", status="failed")), PaymentFailed)


@pytest.mark.parametrize(
    ("status", "kind", "acts"),
    [
        ("processing", PaymentProcessing, False),
        ("requires_customer_action", PaymentProcessing, True),
        ("requires_payment_method", PaymentProcessing, True),
        ("requires_confirmation", PaymentProcessing, True),
        ("requires_merchant_action", PaymentProcessing, False),
        ("requires_capture", PaymentProcessing, False),
        ("partially_captured", PaymentProcessing, False),
        ("partially_captured_and_capturable", PaymentProcessing, False),
        ("cancelled", PaymentCanceled, False),
    ],
)
def test_every_other_status_has_its_fact(said, status: str, kind: type, *, acts: bool):
    fact = only(said("payment.processing", status=status))
    assert isinstance(fact, kind)
    assert getattr(fact, "requires_action", False) is acts


def test_a_payment_without_a_status_says_nothing_yet(said):
    assert said("payment.processing", status=None) == []
    assert isinstance(only(said("payment.cancelled")), PaymentCanceled)


def test_a_status_nobody_knows_is_not_guessed(said):
    with pytest.raises(PayloadInvalid, match="status"):
        said("payment.succeeded", status="settled_twice")


def test_tax_that_dodo_put_on_top_does_not_count_towards_the_invoice(context):
    body = body_of("edge/payment.succeeded.tax_added_on_top")
    facts = {
        mode: only(list(DodoWebhooks.connect(context(tax_mode=mode)).parse(body)))
        for mode in ("inclusive", "exclusive", "byop")
    }
    assert {mode: fact.applied.minor for mode, fact in facts.items()} == {
        "inclusive": 14280,
        "exclusive": 12000,
        "byop": 14280,
    }
    assert facts["exclusive"].amount == Money(14280, "EUR")


def test_a_customer_billed_in_another_currency_shows_what_was_settled(said, context):
    fact = only(said("edge/payment.succeeded.adaptive_currency"))
    assert (fact.amount, fact.applied) == (Money(51600, "PLN"), Money(51600, "PLN"))
    assert fact.settled == Money(12000, "EUR")
    exclusive = DodoWebhooks.connect(context(tax_mode="exclusive"))
    settled = only(list(exclusive.parse(body_of("edge/payment.succeeded.adaptive_currency")))).settled
    assert settled == Money(12000 - 2244, "EUR")


def test_a_set_up_payment_saves_a_method_and_settles_nothing(said):
    fact = only(said("edge/payment.succeeded.is_update_payment_method"))
    assert fact.saves_method is True
    assert fact.amount.is_zero
    assert fact.metadata == {"lago_customer_id": "cust_northwind"}


def test_a_mandates_charge_carries_our_key_and_its_saved_method(said):
    paid = only(said("edge/payment.succeeded.on_demand_charge"))
    declined = only(said("edge/payment.failed.on_demand_charge_hard_decline"))
    assert (paid.ref.id, paid.session, paid.metadata) == ("pay_BhTest0010", None, METADATA)
    assert paid.method.ref == Ref("dodo", "pm_BhTest0001")
    assert (declined.decline.code, declined.decline.kind) == ("DO_NOT_HONOR", DeclineClass.HARD)


def test_foreign_payments_unknown_fields_and_yen_are_read(said):
    assert only(said("edge/payment.succeeded.foreign_no_lago_metadata")).metadata == {}
    assert only(said("edge/payment.succeeded.unknown_extra_fields")) == only(said("payment.succeeded"))
    assert only(said("edge/payment.succeeded.zero_decimal_jpy")).applied == Money(12000, "JPY")


def test_the_time_falls_back_from_updated_to_created_to_the_event(said):
    created = datetime(2026, 9, 1, 10, tzinfo=UTC)
    assert only(said("payment.succeeded", updated_at=None)).at == created
    assert only(said("payment.succeeded", updated_at=None, created_at=None)).at == EVENT_AT
    elsewhere = only(said("payment.succeeded", updated_at="2026-09-01T12:00:20+02:00"))
    assert (elsewhere.at, elsewhere.at.tzinfo) == (UPDATED_AT, UTC)


def test_metadata_becomes_text(said):
    fact = only(said("payment.succeeded", metadata={"a": 1, "b": True, "c": "x", "d": 1.5, "e": None}))
    assert fact.metadata == {"a": "1", "b": "true", "c": "x", "d": "1.5"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("total_amount", 12.5),
        ("total_amount", -1),
        ("total_amount", True),
        ("total_amount", None),
        ("total_amount", 10**40),
        ("currency", "Euro"),
        ("currency", None),
        ("payment_id", None),
        ("updated_at", "yesterday"),
        ("updated_at", "2026-09-01T10:00:20"),
        ("metadata", []),
        ("customer", "cus_1"),
        ("card_last_four", 4242),
    ],
)
def test_a_value_that_cannot_be_read_is_named(said, key: str, value: object):
    with pytest.raises(PayloadInvalid, match=key):
        said("payment.succeeded", **{key: value})


# --- refunds, and the event that does not exist ------------------------------------------------------------------


def test_a_refund_is_told_with_its_own_metadata(said):
    assert said("refund.succeeded") == [
        RefundChanged(
            at=datetime(2026, 9, 3, 9, 0, 5, tzinfo=UTC),
            ref=Ref("dodo", "ref_BhTest0001"),
            payment=PAYMENT,
            status=RefundStatus.SUCCEEDED,
            amount=Money(12000, "EUR"),
            reason="Duplicate order",
        )
    ]
    assert only(said("edge/refund.succeeded.with_own_metadata")).metadata == METADATA


def test_partial_refunds_are_refunds_of_their_own(said):
    first = only(said("edge/refund.succeeded.partial_first"))
    second = only(said("edge/refund.succeeded.partial_second"))
    assert (first.amount, second.amount) == (Money(5000, "EUR"), Money(7000, "EUR"))
    assert first.ref != second.ref
    assert first.payment == second.payment


def test_a_refund_without_an_amount_leaves_it_open(said):
    assert only(said("edge/refund.succeeded.null_amount")).amount is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("succeeded", RefundStatus.SUCCEEDED),
        ("failed", RefundStatus.FAILED),
        ("pending", RefundStatus.PENDING),
        ("review", RefundStatus.PENDING),
    ],
)
def test_a_refunds_status_is_its_own(said, status: str, expected: RefundStatus):
    assert only(said("refund.failed", status=status)).status is expected


def test_the_alias_without_refunds_asks_for_the_payment(said):
    asked = only(said("edge/payment.refunded.NOT_A_REAL_EVENT"))
    assert asked == Refetch(kind="payment", id="pay_BhTest0001", hints={"refunds": "1"})


def test_the_alias_with_refunds_tells_the_payment_and_each_of_them(said):
    rows = [
        {
            "refund_id": "ref_1",
            "payment_id": PAYMENT.id,
            "status": "succeeded",
            "amount": 100,
            "currency": "EUR",
        },
        {
            "refund_id": "ref_2",
            "payment_id": PAYMENT.id,
            "status": "failed",
            "amount": 200,
            "currency": "EUR",
        },
        {"refund_id": None},
    ]
    payment, first, second = said("edge/payment.refunded.NOT_A_REAL_EVENT", refunds=rows)
    assert isinstance(payment, PaymentSucceeded)
    assert (first.ref.id, first.amount, first.status) == ("ref_1", Money(100, "EUR"), RefundStatus.SUCCEEDED)
    assert (second.ref.id, second.status) == ("ref_2", RefundStatus.FAILED)


# --- disputes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("opened", DisputeStatus.OPEN),
        ("challenged", DisputeStatus.OPEN),
        ("expired", DisputeStatus.OPEN),
        ("won", DisputeStatus.WON),
        ("cancelled", DisputeStatus.WON),
        ("lost", DisputeStatus.LOST),
        ("accepted", DisputeStatus.LOST),
    ],
)
def test_a_dispute_stands_where_its_own_status_says(said, word: str, status: DisputeStatus):
    assert said(f"dispute.{word}") == [
        DisputeChanged(
            at=datetime(2026, 9, 10, 8, 0, 1, tzinfo=UTC),
            ref=Ref("dodo", "dp_BhTest0001"),
            payment=PAYMENT,
            status=status,
            amount=Money(12000, "EUR"),
            stage="dispute",
            reason="fraudulent",
        )
    ]


def test_a_disputes_amount_may_be_text_or_a_number(said):
    number = only(said("edge/dispute.opened.amount_as_integer_like_cli_mock"))
    assert number.amount == Money(12000, "EUR")
    with pytest.raises(PayloadInvalid, match="amount"):
        said("dispute.opened", amount="12,000")


def test_a_dispute_refunded_by_rapid_resolution_is_a_refund_by_configuration(said, context):
    lost, refund = said("edge/dispute.lost.rdr_auto_refund")
    assert (lost.status, lost.resolved_by_refund) == (DisputeStatus.LOST, True)
    assert (refund.ref, refund.payment) == (Ref("dodo", "dp_BhTest0002"), PAYMENT)
    assert (refund.status, refund.amount) == (RefundStatus.SUCCEEDED, Money(12000, "EUR"))
    flagging = DodoWebhooks.connect(context(rapid_disputes="flag"))
    flagged = only(list(flagging.parse(body_of("edge/dispute.lost.rdr_auto_refund"))))
    assert (flagged.status, flagged.resolved_by_refund) == (DisputeStatus.LOST, False)


# --- mandates ------------------------------------------------------------------------------------------------------


def test_an_on_demand_subscription_is_a_mandate(said):
    assert said("subscription.active") == [
        MandateChanged(
            at=EVENT_AT,
            ref=Ref("dodo", "sub_BhOnDemand01"),
            status=MandateStatus.ACTIVE,
            provider_customer="cus_BhTest0001",
            currency="EUR",
            method=PaymentMethod(ref=Ref("dodo", "pm_BhTest0001"), reusable=True),
            metadata={"lago_customer_id": "cust_northwind"},
        )
    ]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("active", MandateStatus.ACTIVE),
        ("unpaused", MandateStatus.ACTIVE),
        ("updated", MandateStatus.ACTIVE),
        ("update_payment_method", MandateStatus.ACTIVE),
        ("plan_changed", MandateStatus.ACTIVE),
        ("on_hold", MandateStatus.ON_HOLD),
        ("paused", MandateStatus.ENDED),
        ("cancelled", MandateStatus.ENDED),
        ("expired", MandateStatus.ENDED),
        ("failed", MandateStatus.ENDED),
    ],
)
def test_a_mandate_stands_where_its_own_status_says(said, name: str, status: MandateStatus):
    assert only(said(f"subscription.{name}")).status is status


def test_a_mandate_past_due_is_on_hold_and_a_pending_one_says_nothing(said):
    assert only(said("subscription.past_due", on_demand=True)).status is MandateStatus.ON_HOLD
    assert said("subscription.active", status="pending") == []


@pytest.mark.parametrize("name", ["renewed", "past_due"])
def test_dodos_own_subscriptions_are_no_mandates(said, name: str):
    assert said(f"subscription.{name}") == []


# --- everything else -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CARRIES_NO_FACT)
def test_events_about_nothing_of_ours_mean_nothing(said, name: str):
    assert said(name) == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"type": "payment.succeeded"}', b'{"type": 3}'])
def test_a_body_that_is_no_event_is_invalid(source, body: bytes):
    with pytest.raises(PayloadInvalid):
        source.parse(body)


# --- refetch -------------------------------------------------------------------------------------------------------


def test_a_payment_that_is_fetched_means_what_its_webhook_means(context, sandbox, mailbox):
    provider, source = DodoPayments.connect(context()), DodoWebhooks.connect(context())
    session = provider.collect(make_collect_request(12000, "EUR", invoice="i1")).session
    paid = sandbox.pay(session)
    sandbox.deliver_webhooks()
    told = source.parse(mailbox.received[-1].body)
    assert source.refetch(Refetch(kind="payment", id=paid["payment_id"])) == told
    refund = sandbox.refund(paid["payment_id"], 2000)
    payment, fetched = source.refetch(Refetch(kind="payment", id=paid["payment_id"], hints={"refunds": "1"}))
    assert isinstance(payment, PaymentSucceeded)
    assert (fetched.ref.id, fetched.amount) == (refund["refund_id"], Money(2000, "EUR"))


def test_an_unknown_payment_is_not_found_and_an_unknown_kind_is_a_mistake(source):
    with pytest.raises(NotFound):
        source.refetch(Refetch(kind="payment", id="pay_placeholder"))
    with pytest.raises(ValueError, match="licence"):
        source.refetch(Refetch(kind="licence", id="lic_1"))
