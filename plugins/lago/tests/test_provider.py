"""The Lago engine against a sandboxed Lago: customers, plans, subscriptions, files, usage, and its own set-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from billhook.clock import VirtualClock
from billhook.errors import Conflict, NotFound, Permanent, Temporary
from billhook.hookspecs import ConnectionContext
from billhook.model import (
    Address,
    Customer,
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
    Severity,
    SupportsCheck,
    SupportsCreditNotes,
    SupportsInvoicePdf,
    SupportsPlans,
    SupportsSubscriptions,
    SupportsUsage,
)
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.provider import LagoEngine, lago_engine
from billhook_lago.sandbox import LagoSandbox

Connect = Callable[..., ConnectionContext]


@pytest.fixture
def engine(connect: Connect, story: Any) -> LagoEngine:
    return lago_engine(connect())


@pytest.fixture
def invoice(story: Any, sandbox: LagoSandbox) -> dict[str, Any]:
    """A finalized invoice of 49.00 and 9.80 tax."""
    return dict(sandbox.issue_invoice("acct_1", 4900, taxes_cents=980))


def _ref(row: Mapping[str, Any]) -> Ref:
    return Ref("lago", row["lago_id"])


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
        lambda: engine.subscriptions("acct_1"),
        lambda: engine.usage(customer_id="acct_1", external_id="s"),
        lambda: engine.upsert_customer(Customer(id="acct_1")),
    ):
        with pytest.raises(Permanent):
            call()
    assert [finding.severity for finding in engine.check()] == [Severity.ERROR]
