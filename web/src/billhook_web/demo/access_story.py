"""The part of the story about access: who may use the product, why, and until when. Each answer comes with its sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from billhook.money import Money
from billhook_web.demo.play import Play

DAY: Final = timedelta(days=1)
POLICY: Final[dict[str, Any]] = {
    "rules": [
        {"state": "suspended", "when": {"overdue_days": 30}, "access": "none", "block_changes": True},
        {"state": "restricted", "when": {"overdue_days": 10}, "access": "limited"},
        {"state": "past_due", "when": {"overdue_days": 1}},
    ]
}
STRICTER: Final[dict[str, Any]] = {
    "rules": [{"state": "suspended", "when": {"overdue_days": 5}, "access": "none"}]
}
DEBIT: Final[dict[str, Any]] = {**POLICY, "debit_in_flight": {"counts_as_paid_for": "P7D"}}


def activate(play: Play, policy: Mapping[str, Any]) -> None:
    """Write a policy and let it count for everybody."""
    play.api.post("access", "policies", json={"name": "standard", "policy": policy, "reason": "the demo"})
    play.api.post("access", "policies", "activate", json={"name": "standard", "scope": "default"})


def expect_access(play: Play, customer_id: str, claim: str, expected: tuple[str, str]) -> None:
    """Check a customer's standing and access, and print the sentence that explains them."""
    answer = play.api.get("customers", customer_id, "access")
    play.expect(claim, (answer["standing"], answer["access"]), expected)
    if why := _why(answer):
        play.telling.say(f"  {why}")


def unpaid_and_paid(play: Play) -> None:
    """An unpaid invoice walks down by the clock; the payment restores everything at once."""
    play.act("A policy is written and activated: 1, 10 and 30 days overdue", lambda: activate(play, POLICY))
    play.act("PUT /api/v1/customers/acct_dora", lambda: play.register("acct_dora"))
    invoice_id = play.bill("acct_dora", Money(8_000, "EUR"))
    expect_access(play, "acct_dora", "on the day it is due nothing happens", ("clear", "full"))
    for days, state, access in (
        (2, "past_due", "full"),
        (9, "restricted", "limited"),
        (20, "suspended", "none"),
    ):
        play.skip(f"{days} days pass, and nobody pays", days * DAY)
        expect_access(play, "acct_dora", f"the customer is {state}", (state, access))
    blocked = play.api.get("customers", "acct_dora", "access")["block_changes"]
    play.expect("plans cannot be changed meanwhile", blocked)
    page = play.api.visit(play.invoice(invoice_id)["pay_url"], method="POST")
    play.expect("the pay link still leads to a checkout", page.status in (302, 303))
    play.stage.settle()
    play.pay(play.checkout(invoice_id))
    expect_access(play, "acct_dora", "paid, the customer is back at once", ("clear", "full"))
    history = play.api.get("customers", "acct_dora", "access", "history")["data"]
    told = [each["decision"]["standing"] for each in reversed(history)]
    descent = ["clear", "past_due", "restricted", "suspended", "clear"]
    play.expect("the history has every step, with its day", told, descent)


def debit_fails_late(play: Play) -> None:
    """A bank debit takes days and may still fail; tried out with made-up facts, as a policy can be before it counts."""
    said = play.act(
        "POST /api/v1/access/simulations: a bank debit that fails on day six", lambda: _debit(play)
    )
    found = [(each["standing"], each["access"]) for each in said]
    play.telling.say(f"  {_why(said[1])}")
    play.expect("while the debit is on its way the invoice counts as paid", found[0], ("clear", "full"))
    play.expect("when it fails, it is overdue since its original date", found[1], ("restricted", "limited"))
    play.expect("and says so", "12 days overdue" in _why(said[1]))


def canceled_and_paid_through(play: Play) -> None:
    """Who cancels keeps what is paid for, to the end of the period."""
    play.act("PUT /api/v1/customers/acct_emil", lambda: play.register("acct_emil"))
    play.act("Emil AG subscribes", lambda: play.engine.story.subscribe("acct_emil"))
    play.pay(play.checkout(play.engine.story.invoices()[-1].id))
    (row,) = [each for each in play.api.rows("subscriptions") if each["customer"] == "acct_emil"]
    play.act(
        f"POST /api/v1/subscriptions/{row['ref']}/cancel at the period's end",
        lambda: play.api.post("subscriptions", row["ref"], "cancel", json={"when": "period_end"}),
    )
    answer = play.api.get("customers", "acct_emil", "access")
    play.expect("canceled, and still in use", (answer["state"], answer["access"]), ("canceling", "full"))
    coming = answer["next"]
    play.telling.say(
        f"  From {answer['next_change_at'][:10]} on: {coming['state']}, {coming['access']}, unless taken up again."
    )
    play.skip("The period ends", 32 * DAY)
    answer = play.api.get("customers", "acct_emil", "access")
    play.expect("now it is over", (answer["state"], answer["access"]), ("ended", "none"))


def chargeback(play: Play) -> None:
    """A lost dispute takes the payment back: the invoice is as overdue as if it had never been paid."""
    play.act("PUT /api/v1/customers/acct_fay", lambda: play.register("acct_fay"))
    _, payment_id = play.paid_invoice("acct_fay", Money(3_000, "EUR"))
    play.skip("Twelve days pass", 12 * DAY)
    expect_access(play, "acct_fay", "all is paid", ("clear", "full"))
    payment = play.payment.story

    def charge_back() -> None:
        dispute = payment.dispute(payment_id)
        play.stage.settle()
        payment.lose(dispute)

    play.act("The customer's bank takes the money back", charge_back)
    expect_access(play, "acct_fay", "restricted at once, not first past due", ("restricted", "limited"))


def another_policy(play: Play) -> None:
    """Before a policy counts it can be tried on every real customer."""
    preview = play.act(
        "POST /api/v1/access/policies/preview: none after five days",
        lambda: play.api.post("access", "policies", "preview", json={"policy": STRICTER}),
    )
    moved = {each["customer"]: each for each in preview["data"]}
    fay = moved["acct_fay"]
    for line in fay["why"]:
        play.telling.say(f"  {line}")
    now = (fay["from"]["state"], fay["to"]["state"], fay["to"]["access"])
    play.expect("it says who would change, and why", now, ("restricted", "suspended", "none"))
    answer = play.api.get("customers", "acct_fay", "access")
    play.expect("and changes nothing", (answer["standing"], answer["access"]), ("restricted", "limited"))


def _debit(play: Play) -> list[dict[str, Any]]:
    issued = datetime(2026, 3, 1, tzinfo=UTC)
    invoice = {"invoice": "I1", "amount": 5_000, "currency": "EUR"}
    payment = {**invoice, "payment": "P1"}
    dates = {"issue_date": "2026-03-01", "due_date": "2026-03-01"}
    facts = [
        {"type": "invoice.finalized", "at": _written(issued), **invoice, **dates},
        {"type": "payment.pending", "at": _written(issued + 7 * DAY), **payment},
        {
            "type": "payment.failed",
            "at": _written(issued + 12 * DAY),
            **payment,
            "decline": "insufficient_funds",
        },
    ]
    asked = {
        "policy": DEBIT,
        "customers": [{"id": "a bank debit", "facts": facts}],
        "at": [_written(issued + 11 * DAY), _written(issued + 12 * DAY)],
    }
    decisions: list[dict[str, Any]] = play.api.post("access", "simulations", json=asked)["decisions"]
    return decisions


def _written(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _why(answer: dict[str, Any]) -> str:
    return " ".join(reason["text"] for reason in answer["reasons"])
