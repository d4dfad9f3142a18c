"""Subscriptions in the sandbox: plan changes, ends, periods, trials, as Lago plays them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billhook.clock import VirtualClock
from billhook_lago.sandbox.periods import part_cents, period_of


def _post(api: Any, plan: str, external_id: str = "sub_1", **terms: Any) -> dict[str, Any]:
    body = {"external_customer_id": "acct_1", "plan_code": plan, "external_id": external_id, **terms}
    return api.ok("POST", "/subscriptions", {"subscription": body})


def _later(api: Any, clock: VirtualClock, days: int) -> list[str]:
    clock.advance(timedelta(days=days))
    api.sandbox.tick()
    return api.heard()


def test_a_start_bills_in_advance(story: Any) -> None:
    row = _post(story, "pro")
    assert (row["status"], row["current_billing_period_ending_at"]) == ("active", "2026-07-31T23:59:59Z")
    assert story.heard() == ["subscription.started", "invoice.created"]
    assert story.sandbox.invoices[0]["total_due_amount_cents"] == 5880


def test_the_same_plan_again_returns_the_same_row_silently(story: Any) -> None:
    first = _post(story, "pro")
    story.heard()
    assert _post(story, "pro")["lago_id"] == first["lago_id"]
    assert story.heard() == []


def test_an_upgrade_ends_the_old_half_and_credits_the_unused_days(story: Any, clock: VirtualClock) -> None:
    old = _post(story, "starter")
    clock.advance(timedelta(days=10))
    story.heard()
    new = _post(story, "pro")
    assert new["lago_id"] != old["lago_id"]
    assert (new["external_id"], new["previous_plan_code"]) == ("sub_1", "starter")
    heard = ["subscription.terminated", "credit_note.created", "subscription.started", "invoice.created"]
    assert story.heard() == heard
    [note] = story.sandbox.credit_notes
    assert note["sub_total_excluding_taxes_amount_cents"] == 1965  # 21 of 31 days of 2900
    invoice = story.sandbox.invoices[-1]
    assert invoice["billing_periods"][0]["invoicing_reason"] == "upgrading"
    assert invoice["credit_notes_amount_cents"] == note["total_amount_cents"]
    assert invoice["total_due_amount_cents"] == 3319 + 664 - note["total_amount_cents"]


def test_a_downgrade_waits_for_the_end_of_the_period(story: Any, clock: VirtualClock) -> None:
    current = _post(story, "pro")
    story.heard()
    answer = _post(story, "starter")
    assert answer["lago_id"] == current["lago_id"]
    assert (answer["next_plan_code"], answer["downgrade_plan_date"]) == ("starter", "2026-08-01")
    assert story.heard() == ["subscription.updated"]
    heard = _later(story, clock, 31)
    assert heard == [
        "invoice.payment_overdue",
        "subscription.terminated",
        "subscription.started",
        "invoice.created",
    ]
    assert story.ok("GET", "/subscriptions/sub_1")["plan_code"] == "starter"


def test_a_pending_downgrade_is_cancelled_with_status_pending(story: Any) -> None:
    _post(story, "pro")
    _post(story, "starter")
    story.heard()
    cancelled = story.ok("DELETE", "/subscriptions/sub_1?status=pending")
    assert (cancelled["status"], cancelled["plan_code"]) == ("canceled", "starter")
    assert story.heard() == ["subscription.updated", "subscription.terminated"]
    assert story.ok("GET", "/subscriptions/sub_1")["next_plan_code"] is None


def test_an_end_is_scheduled_and_taken_back_by_an_explicit_null(story: Any, clock: VirtualClock) -> None:
    _post(story, "pro")
    body = {"subscription": {"ending_at": "2026-07-31T23:59:59Z"}}
    assert story.ok("PUT", "/subscriptions/sub_1", body)["ending_at"] == "2026-07-31T23:59:59Z"
    assert (
        story.ok("PUT", "/subscriptions/sub_1", {"subscription": {"name": "Main"}})["ending_at"] is not None
    )
    assert story.ok("PUT", "/subscriptions/sub_1", {"subscription": {"ending_at": None}})["ending_at"] is None
    story.heard()
    assert "subscription.terminated" not in _later(story, clock, 32)


def test_lago_ends_a_subscription_as_soon_as_the_day_of_ending_at_begins(
    story: Any, clock: VirtualClock
) -> None:
    _post(story, "pro")
    story.ok("PUT", "/subscriptions/sub_1", {"subscription": {"ending_at": "2026-07-31T23:59:59Z"}})
    assert "subscription.terminated" not in _later(story, clock, 29)
    assert "subscription.terminated" in _later(story, clock, 1)


def test_an_end_today_is_refused(story: Any) -> None:
    _post(story, "pro")
    body = {"subscription": {"ending_at": "2026-07-01T23:00:00Z"}}
    assert story.refused("PUT", "/subscriptions/sub_1", body) == (422, {"ending_at": ["invalid_date"]})


@pytest.mark.parametrize(
    ("mode", "refund", "credit"), [("refund", 5122, 0), ("credit", 0, 5122), ("skip", 0, 0)]
)
def test_termination_gives_back_what_was_asked(
    story: Any, clock: VirtualClock, mode: str, refund: int, credit: int
) -> None:
    _post(story, "pro")
    [invoice] = story.sandbox.invoices
    payment = {"invoice_id": invoice["lago_id"], "amount_cents": 5880, "reference": "pay_1"}
    story.ok("POST", "/payments", {"payment": payment})
    clock.advance(timedelta(days=3))
    ended = story.ok("DELETE", f"/subscriptions/sub_1?on_termination_credit_note={mode}")
    assert (ended["status"], ended["on_termination_credit_note"]) == ("terminated", mode)
    notes = story.sandbox.credit_notes
    assert sum(note["refund_amount_cents"] for note in notes) == refund
    assert sum(note["credit_amount_cents"] for note in notes) == credit


def test_a_future_start_is_silent_until_it_comes(story: Any, clock: VirtualClock) -> None:
    assert _post(story, "pro", subscription_at="2026-07-05T00:00:00Z")["status"] == "pending"
    assert story.heard() == []
    assert _later(story, clock, 4) == ["subscription.started", "invoice.created"]


def test_a_trial_bills_when_it_is_over(story: Any, clock: VirtualClock) -> None:
    story.sandbox.add_plan(code="try", name="Try", amount_cents=3100, trial_days=14)
    _post(story, "try")
    assert story.heard() == ["plan.created", "subscription.started"]
    assert _later(story, clock, 14) == ["subscription.trial_ended", "invoice.created"]
    assert story.sandbox.invoices[0]["fees_amount_cents"] == 1700


def test_arrears_are_billed_at_the_end(story: Any, clock: VirtualClock) -> None:
    story.sandbox.add_plan(code="late", name="Late", amount_cents=3000, pay_in_advance=False)
    _post(story, "late")
    assert story.heard() == ["plan.created", "subscription.started"]
    assert _later(story, clock, 31) == ["invoice.created"]
    assert story.sandbox.invoices[0]["issuing_date"] == "2026-08-01"


def test_a_long_jump_makes_the_same_invoices_as_small_steps(story: Any, clock: VirtualClock) -> None:
    _post(story, "pro")
    clock.advance(timedelta(days=93))
    story.sandbox.tick()
    dates = [invoice["issuing_date"] for invoice in story.sandbox.invoices]
    assert dates == ["2026-07-01", "2026-08-01", "2026-09-01", "2026-10-01"]
    assert story.sandbox.tick() == 0


def test_an_external_id_belongs_to_one_customer(story: Any) -> None:
    _post(story, "pro")
    body = {"external_customer_id": "other", "plan_code": "pro", "external_id": "sub_1"}
    refusal = story.refused("POST", "/subscriptions", {"subscription": body})
    assert refusal == (422, {"external_id": ["value_already_exist"]})


def test_an_ended_subscription_is_found_only_by_its_status(story: Any) -> None:
    _post(story, "pro")
    story.ok("DELETE", "/subscriptions/sub_1")
    assert story.refused("GET", "/subscriptions/sub_1") == (404, "subscription_not_found")
    assert story.ok("GET", "/subscriptions/sub_1?status=terminated")["status"] == "terminated"
    assert story.ok("GET", "/subscriptions?external_customer_id=acct_1")["subscriptions"] == []


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("weekly", datetime(2026, 5, 11, tzinfo=UTC), datetime(2026, 5, 18, tzinfo=UTC)),
        ("monthly", datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
        ("quarterly", datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)),
        ("semiannual", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)),
        ("yearly", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_calendar_periods(interval: str, start: datetime, end: datetime) -> None:
    assert period_of(datetime(2026, 5, 15, 9, tzinfo=UTC), interval=interval, anchor=None) == (start, end)


def test_an_anniversary_on_the_31st_keeps_to_the_last_day() -> None:
    anchor = datetime(2026, 1, 31, 8, tzinfo=UTC)
    period = period_of(datetime(2026, 3, 1, tzinfo=UTC), interval="monthly", anchor=anchor)
    assert period == (datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))


def test_parts_of_a_price_are_whole_days() -> None:
    june = (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
    noon = datetime(2026, 6, 16, 12, tzinfo=UTC)
    assert part_cents(3000, start=noon, end=june[1], period=june) == 1500
    assert part_cents(3000, start=june[0], end=june[1], period=june) == 3000
