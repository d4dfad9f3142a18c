from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import pytest

from billhook.clock import VirtualClock
from billhook.errors import OutcomeUnknown
from billhook.events import (
    CreditNoteIssued,
    DisputeChanged,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceVoided,
    MandateChanged,
    PaymentFailed,
    PaymentSucceeded,
    RefundChanged,
    SubscriptionEnded,
    SubscriptionStarted,
    SubscriptionUpdated,
)
from billhook.model import (
    Decline,
    DeclineClass,
    DisputeStatus,
    InvoiceStatus,
    MandateStatus,
    PaymentMethod,
    PaymentStatus,
    Period,
    Ref,
    RefundStatus,
)
from billhook.money import Money
from billhook.provider import CancelWhen
from billhook_web.stores import outbox

from .conftest import START, Api

EUR = "EUR"
MINUTE = timedelta(minutes=1)


def finalized(name: str, *, at: datetime = START, engine: str = "acme", **more) -> InvoiceFinalized:
    values = {
        "customer_id": "acct_1",
        "number": f"N-{name}",
        "currency": EUR,
        "total": 12000,
        "taxes": 2000,
        "due": 12000,
    }
    return InvoiceFinalized(at=at, ref=Ref(engine, name), **{**values, **more})


def succeeded(name: str, invoice: str, *, at: datetime = START + MINUTE) -> PaymentSucceeded:
    amount = Money(12000, EUR)
    metadata = {"billhook_invoice": f"acme:{invoice}", "billhook_key": f"acme-inv-{invoice}"}
    method = PaymentMethod(brand="visa", last4="4242", expires="2030-01")
    return PaymentSucceeded(
        at=at, ref=Ref("fakepay", name), amount=amount, applied=amount, metadata=metadata, method=method
    )


def started(name: str, agreement: str, *, at: datetime = START, engine: str = "acme") -> SubscriptionStarted:
    return SubscriptionStarted(
        at=at, ref=Ref(engine, name), external_id=agreement, customer_id="acct_1", plan="team"
    )


def deliver_all(api: Api) -> None:
    with api.runtime.db.read() as tx:
        ids = [row.id for row in reversed(outbox.page(tx))]
    for effect_id in ids:
        api.runtime.delivery.deliver(effect_id)


# --- subscriptions


def test_a_subscription_is_found_by_its_ref_and_by_the_agreements_id(api) -> None:
    period = Period(start=START, end=datetime(2026, 10, 1, tzinfo=UTC))
    later = START + MINUTE
    ended = SubscriptionEnded(
        at=later, ref=Ref("acme", "row_1"), external_id="sub/1", customer_id="acct_1", plan="solo"
    )
    updated = SubscriptionUpdated(
        at=later, ref=Ref("acme", "row_2"), external_id="sub/1", customer_id="acct_1", plan="team",
        current_period=period, next_plan="solo", next_plan_on=date(2026, 10, 1),
    )  # fmt: skip
    api.apply(started("row_1", "sub/1"), ended, started("row_2", "sub/1", at=START - MINUTE), updated)
    by_ref = api.get("/subscriptions/acme:row_2")
    assert (by_ref["ref"], by_ref["id"], by_ref["status"]) == ("acme:row_2", "sub/1", "active")
    assert by_ref["current_period"] == {"start": "2026-09-01T09:00:00Z", "end": "2026-10-01T00:00:00Z"}
    assert by_ref["next_plan_on"] == "2026-10-01"
    assert api.get(f"/subscriptions/{quote('acme:sub/1', safe='')}") == by_ref, "the live row"
    assert api.get("/subscriptions/acme:row_1")["status"] == "ended"


def test_an_agreements_id_is_taken_as_it_is(api) -> None:
    api.apply(started("row_1", 'a"b%_\\ü'), started("row_2", "a"))
    assert (
        api.get(f"/subscriptions/{quote('acme:' + 'a' + chr(34) + 'b%_' + chr(92) + 'ü')}")["ref"]
        == "acme:row_1"
    )
    assert api.get("/subscriptions/acme:a")["ref"] == "acme:row_2"
    api.refused("GET", "/subscriptions/acme:%25", 404)
    api.refused("GET", "/subscriptions/bare:a", 404)


@pytest.mark.parametrize("ref", ["acme", "acme:", ":x", "acme:nobody", "acme:%00"])
@pytest.mark.parametrize(
    "kind", ["subscriptions", "invoices", "payments", "refunds", "credit-notes", "disputes", "mandates"]
)
def test_what_is_not_there_is_404(api, kind: str, ref: str) -> None:
    assert api.refused("GET", f"/{kind}/{ref}", 404)["title"] == "Not Found"


def test_subscriptions_are_listed_by_customer_status_and_connection(api) -> None:
    api.apply(started("row_1", "s1"), started("row_2", "s2", engine="bare"))
    assert [each["ref"] for each in api.get("/subscriptions?connection=bare")["data"]] == ["bare:row_2"]
    assert len(api.get("/subscriptions?customer=acct_1&status=active")["data"]) == 2
    assert api.get("/subscriptions?customer=nobody")["data"] == []
    assert api.get("/subscriptions?status=ended")["data"] == []


def test_a_subscription_is_started_at_the_engine(api, engine) -> None:
    api.ok("PUT", "/customers/acct_1", body={}, status=201)
    body = {"customer": "acct_1", "plan": "team", "id": "s1", "connection": "acme"}
    made = api.ok("POST", "/subscriptions", body=body, status=201)
    assert (made["ref"], made["customer"], made["plan"]) == ("acme:row_s1", "acct_1", "team")
    assert engine.asked == [("subscribe", ("acct_1", "team", "s1"))]


def test_starting_a_subscription_names_what_is_missing_or_unknown(api, engine) -> None:
    problem = api.refused("POST", "/subscriptions", 422, body={})
    assert {each["field"] for each in problem["errors"]} == {"customer", "plan", "id"}
    body = {"customer": "nobody", "plan": "team", "id": "s1"}
    (several,) = api.refused("POST", "/subscriptions", 422, body=body)["errors"]
    assert (several["field"], several["allowed"]) == ("connection", ["acme", "bare"])
    (unknown,) = api.refused("POST", "/subscriptions", 422, body={**body, "connection": "fakepay"})["errors"]
    assert unknown["field"] == "connection"
    (who,) = api.refused("POST", "/subscriptions", 422, body={**body, "connection": "acme"})["errors"]
    assert who["field"] == "customer"
    assert engine.asked == []


@pytest.mark.parametrize(
    ("when", "asked"),
    [
        ("now", CancelWhen.NOW),
        ("period_end", CancelWhen.PERIOD_END),
        ("2026-09-30T00:00:00+02:00", datetime(2026, 9, 29, 22, tzinfo=UTC)),
    ],
)
def test_a_subscription_ends_when_it_is_said(api, engine, when: str, asked: object) -> None:
    api.apply(started("row_1", "s1"))
    assert api.ok("POST", "/subscriptions/acme:s1/cancel", body={"when": when})["status"] == "ended"
    assert engine.asked == [("cancel", asked)]


@pytest.mark.parametrize("when", ["later", "2026-09-30T00:00:00", "", None])
def test_an_end_that_cannot_be_understood_is_refused(api, when: object) -> None:
    api.apply(started("row_1", "s1"))
    problem = api.refused("POST", "/subscriptions/acme:s1/cancel", 422, body={"when": when})
    assert [each["field"] for each in problem["errors"]] == ["when"]


def test_a_plan_change_and_an_end_can_be_taken_back(api, engine) -> None:
    api.apply(started("row_1", "s1"))
    changed = api.ok("POST", "/subscriptions/acme:row_1/change-plan", body={"plan": "solo"})
    assert changed["next_plan"] == "solo"
    api.ok("POST", "/subscriptions/acme:row_1/undo-cancel")
    assert api.answer("POST", "/subscriptions/acme:row_1/cancel-pending-change").status_code == 204
    assert [name for name, _ in engine.asked] == ["change_plan", "undo_cancel", "cancel_pending_change"]


def test_what_an_engine_cannot_do_is_409_and_says_so(api) -> None:
    api.apply(started("row_1", "s1", engine="bare"), finalized("i1", engine="bare"))
    api.ok("PUT", "/customers/acct_1", body={}, status=201)
    body = {"customer": "acct_1", "plan": "team", "id": "s1", "connection": "bare"}
    for method, path, sent in [
        ("POST", "/subscriptions", body),
        ("POST", "/subscriptions/bare:row_1/change-plan", {"plan": "x"}),
        ("POST", "/subscriptions/bare:row_1/cancel", {"when": "now"}),
        ("POST", "/subscriptions/bare:row_1/undo-cancel", None),
        ("POST", "/subscriptions/bare:row_1/cancel-pending-change", None),
        ("GET", "/subscriptions/bare:row_1/usage", None),
        ("GET", "/plans?connection=bare", None),
        ("GET", "/invoices/bare:i1/pdf", None),
    ]:
        assert "Fake billing" in api.refused(method, path, 409, body=sent)["detail"]


def test_an_action_whose_outcome_is_unknown_is_504(api, engine) -> None:
    api.apply(started("row_1", "s1"))
    engine.refusal = OutcomeUnknown("no answer")
    api.refused("POST", "/subscriptions/acme:s1/cancel", 504, body={"when": "now"})


def test_usage_and_plans_come_from_the_engine(api) -> None:
    api.apply(started("row_1", "s1"))
    assert api.get("/subscriptions/acme:s1/usage")["lines"] == [
        {"code": "calls", "name": "Calls", "units": "12.5", "amount": {"amount": 125, "currency": EUR}}
    ]
    for query in ("", "?connection=acme"):
        (plan,) = api.get(f"/plans{query}")["data"]
        assert (plan["ref"], plan["amount"]) == ("acme:plan_1", {"amount": 9900, "currency": EUR})
    (wrong,) = api.refused("GET", "/plans?connection=nobody", 422)["errors"]
    assert wrong["allowed"] == ["acme", "bare"]


# --- invoices and what hangs on them


def a_story(api: Api) -> None:
    """An invoice that failed once, was paid, refunded in part, credited and disputed."""
    api.apply(
        finalized("i1", issued_on=date(2026, 9, 1), due_on=date(2026, 9, 8), subscriptions=("s1",)),
    )
    deliver_all(api)
    amount = Money(12000, EUR)
    payment = Ref("fakepay", "p2")
    metadata = {"billhook_invoice": "acme:i1"}
    api.apply(
        PaymentFailed(
            at=START, ref=Ref("fakepay", "p1"), amount=amount, applied=amount, metadata=metadata,
            decline=Decline(code="stolen", kind=DeclineClass.HARD, message="Stolen.", sensitive=True),
        ),
        succeeded("p2", "i1"),
        RefundChanged(
            at=START + 2 * MINUTE, ref=Ref("fakepay", "r1"), payment=payment, status=RefundStatus.SUCCEEDED,
            amount=Money(3000, EUR), reason="late",
        ),
        DisputeChanged(
            at=START + 3 * MINUTE, ref=Ref("fakepay", "d1"), payment=payment, status=DisputeStatus.OPEN, amount=amount
        ),
        CreditNoteIssued(
            at=START + 4 * MINUTE, ref=Ref("acme", "c1"), invoice=Ref("acme", "i1"), amount=Money(3000, EUR),
            refund=3000, refund_status=RefundStatus.SUCCEEDED, for_refund=Ref("fakepay", "r1"),
        ),
        MandateChanged(
            at=START, ref=Ref("fakepay", "m1"), status=MandateStatus.ACTIVE, currency=EUR,
            metadata={"billhook_customer": "acct_1"},
        ),
    )  # fmt: skip


def test_an_invoice_shows_everything_that_hangs_on_it(api) -> None:
    a_story(api)
    invoice = api.get("/invoices/acme:i1")
    assert (invoice["number"], invoice["due"], invoice["paid"]) == ("N-i1", 12000, 12000)
    assert (invoice["issued_on"], invoice["due_on"], invoice["subscriptions"]) == (
        "2026-09-01",
        "2026-09-08",
        ["s1"],
    )
    assert invoice["payment_status"] == "succeeded"
    assert [each["ref"] for each in invoice["payments"]] == ["fakepay:p1", "fakepay:p2"]
    assert [each["ref"] for each in invoice["refunds"]] == ["fakepay:r1"]
    assert [each["ref"] for each in invoice["disputes"]] == ["fakepay:d1"]
    assert [each["ref"] for each in invoice["credit_notes"]] == ["acme:c1"]
    (attempt,) = invoice["attempts"]
    assert (attempt["key"], attempt["number"], attempt["by"]) == ("acme-inv-i1", 1, "checkout")
    assert attempt["url"].startswith("https://pay.example.com/")
    assert attempt["payment"] == "fakepay:p2"
    assert invoice["pay_url"].startswith("https://billing.test/pay/")
    (listed,) = api.get("/invoices")["data"]
    assert listed == {name: value for name, value in invoice.items() if name in listed}
    assert set(invoice) - set(listed) == {"payments", "refunds", "disputes", "credit_notes"}


def test_an_invoice_nobody_was_asked_to_pay_has_no_pay_url(api) -> None:
    api.apply(finalized("i1", due=0))
    invoice = api.get("/invoices/acme:i1")
    assert (invoice["pay_url"], invoice["attempts"]) == (None, [])


def test_payments_refunds_disputes_credit_notes_and_mandates_are_listed_and_shown(api) -> None:
    a_story(api)
    for kind, status, ref in [
        ("payments", "succeeded", "fakepay:p2"),
        ("payments", "failed", "fakepay:p1"),
        ("refunds", "succeeded", "fakepay:r1"),
        ("disputes", "open", "fakepay:d1"),
        ("credit-notes", "succeeded", "acme:c1"),
    ]:
        (listed,) = api.get(f"/{kind}?status={status}&invoice=acme:i1&customer=acct_1")["data"]
        assert listed["ref"] == ref
        assert api.get(f"/{kind}/{ref}") == listed
        assert api.get(f"/{kind}?invoice=acme:other")["data"] == []
    (mandate,) = api.get("/mandates?status=active&customer=acct_1")["data"]
    assert api.get("/mandates/fakepay:m1") == mandate
    api.refused("GET", "/mandates?invoice=acme:i1", 422)


def test_a_payment_tells_its_method_and_why_it_failed(api) -> None:
    a_story(api)
    paid, failed = api.get("/payments/fakepay:p2"), api.get("/payments/fakepay:p1")
    assert paid["amount"] == {"amount": 12000, "currency": EUR}
    assert (paid["method"]["brand"], paid["method"]["last4"]) == ("visa", "4242")
    assert (paid["refunded"], paid["dispute_open"], paid["key"]) == (3000, True, "acme-inv-i1")
    assert failed["decline"] == {"code": "stolen", "kind": "hard", "message": "Stolen.", "sensitive": True}


def test_an_invoice_id_may_hold_dots_colons_and_slashes(api) -> None:
    api.apply(finalized("2026/09.1:a"))
    path = f"/invoices/{quote('acme:2026/09.1:a', safe='')}"
    assert api.get(path)["ref"] == "acme:2026/09.1:a"
    assert api.ok("POST", f"{path}/collect", status=202)["invoice"] == "acme:2026/09.1:a"


def test_pages_neither_skip_nor_repeat_while_new_rows_come_in(api) -> None:
    names = [f"i{number:02}" for number in range(7)]
    same = START + MINUTE
    for number, name in enumerate(names):
        api.apply(finalized(name, at=same if number in (2, 3, 4) else START + number * MINUTE))
    seen: list[str] = []
    path = "/invoices?limit=2&customer=acct_1"
    for round_ in range(10):
        page = api.get(path)
        assert len(page["data"]) <= 2
        seen += [each["ref"] for each in page["data"]]
        api.apply(finalized(f"new{round_}", at=START + timedelta(days=1 + round_)))
        if page["next_cursor"] is None:
            break
        path = f"/invoices?limit=2&customer=acct_1&cursor={page['next_cursor']}"
    assert sorted(seen) == [f"acme:{name}" for name in names]
    assert len(seen) == len(set(seen))
    assert api.get("/invoices?limit=17")["next_cursor"] is not None or len(seen) == 7


def test_a_page_that_is_exactly_full_is_the_last(api) -> None:
    api.apply(finalized("i1"), finalized("i2"))
    assert api.get("/invoices?limit=2")["next_cursor"] is None
    assert api.get("/invoices?limit=1")["next_cursor"] is not None


def test_customers_are_paged_although_they_came_at_the_same_instant(api) -> None:
    for number in range(5):
        api.ok("PUT", f"/customers/c{number}", body={}, status=201)
    seen, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/customers?limit=2{cursor and '&cursor=' + cursor}")
        seen += [each["id"] for each in page["data"]]
        cursor = page["next_cursor"]
    assert seen == ["c4", "c3", "c2", "c1", "c0"]


# --- asking to collect


def collect(api: Api, invoice: str = "i1", status: int = 202):
    return api.ok("POST", f"/invoices/acme:{invoice}/collect", status=status)


def decline(api: Api, payments, *, code: DeclineClass = DeclineClass.SOFT) -> None:
    from billhook.testing.fakes.provider import DECLINED

    (key,) = [call.headers["idempotency-key"] for call in payments.calls if call.method == "POST"][-1:]
    amount = Money(12000, EUR)
    api.apply(
        PaymentFailed(
            at=START + MINUTE, ref=Ref("fakepay", f"declined_{key}"), amount=amount, applied=amount,
            metadata={"billhook_invoice": "acme:i1", "billhook_key": key}, decline=DECLINED,
        )
    )  # fmt: skip


def test_while_an_attempt_is_open_no_other_is_planned(api) -> None:
    api.apply(finalized("i1"))
    deliver_all(api)
    assert collect(api) == {"invoice": "acme:i1", "attempt": 1, "planned": False, "effect": None}


def test_a_retry_that_waits_for_its_day_is_made_now(api, payments) -> None:
    api.apply(finalized("i1"))
    deliver_all(api)
    decline(api, payments)
    asked = collect(api)
    assert (asked["attempt"], asked["planned"]) == (2, True)
    effect = api.get(f"/effects/{asked['effect']}")
    assert (effect["kind"], effect["status"], effect["due_at"]) == (
        "collect_invoice",
        "pending",
        "2026-09-01T09:00:00Z",
    )
    api.runtime.delivery.deliver(asked["effect"])
    keys = [each["key"] for each in api.get("/invoices/acme:i1")["attempts"]]
    assert keys == ["acme-inv-i1", "acme-inv-i1-attempt-2"]


def test_asking_twice_plans_one_attempt(api) -> None:
    api.apply(finalized("i1"))
    first, second = collect(api), collect(api)
    assert first["effect"] == second["effect"]
    assert len(api.get("/effects?kind=collect_invoice")["data"]) == 1


def test_a_number_whose_effect_was_closed_without_an_attempt_is_used_up(api) -> None:
    effects = api.apply(finalized("i1"))
    with api.runtime.db.begin() as tx:
        outbox.finish(tx, effects[0], status=outbox.EffectStatus.SUPERSEDED, now=START)
    assert collect(api)["attempt"] == 2


def test_an_attempt_that_was_given_up_is_tried_again(api) -> None:
    effects = api.apply(finalized("i1"))
    with api.runtime.db.begin() as tx:
        outbox.finish(tx, effects[0], status=outbox.EffectStatus.DEAD, now=START, error="refused")
    asked = collect(api)
    assert (asked["attempt"], asked["effect"]) == (1, effects[0])
    assert api.get(f"/effects/{effects[0]}")["status"] == "pending"


def test_what_is_not_to_be_collected_is_refused(api) -> None:
    api.refused("POST", "/invoices/acme:nobody/collect", 404)
    api.apply(finalized("i1"), succeeded("p1", "i1"))
    assert api.refused("POST", "/invoices/acme:i1/collect", 409)["field"] == "balance"
    api.apply(finalized("i2"), InvoiceVoided(at=START + MINUTE, ref=Ref("acme", "i2")))
    assert api.refused("POST", "/invoices/acme:i2/collect", 409)["field"] == "status"
    api.apply(finalized("i3", collected_by_engine=True))
    assert api.refused("POST", "/invoices/acme:i3/collect", 409)["title"] == "Not supported"


def test_a_pdf_is_sent_when_it_is_made(api, engine) -> None:
    api.apply(finalized("i1", number='A/1"\r\n'))
    waiting = api.answer("GET", "/invoices/acme:i1/pdf")
    assert (waiting.status_code, waiting.headers["Retry-After"]) == (202, "5")
    engine.pdf = b"%PDF-1.7"
    made = api.answer("GET", "/invoices/acme:i1/pdf")
    assert (made.status_code, made.content_type, made.data) == (200, "application/pdf", b"%PDF-1.7")
    assert made.headers["Content-Disposition"] == 'inline; filename="A-1---.pdf"'
    api.refused("GET", "/invoices/acme:nobody/pdf", 404)


def test_an_invoice_is_overdue_as_its_engine_says(api) -> None:
    assert isinstance(api.runtime.clock, VirtualClock)
    seen = InvoiceObserved(
        at=START + MINUTE, ref=Ref("acme", "i1"), customer_id="acct_1", status=InvoiceStatus.FINALIZED,
        payment_status=PaymentStatus.FAILED, currency=EUR, total=12000, due=12000, paid=0, overdue=True,
    )  # fmt: skip
    api.apply(finalized("i1"), seen)
    invoice = api.get("/invoices/acme:i1")
    assert (invoice["overdue"], invoice["engine_status"]) == (True, "failed")
