"""The story, step by step. Every step uses invoices of its own and checks the host's API and both sandboxes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, TypeVar

from billhook.clock import monotonic
from billhook.model import DeclineClass, PaymentStatus, RefundStatus
from billhook.money import Money
from billhook.testing.sandbox import Fault, FaultKind, Outgoing
from billhook_web.demo import access_story
from billhook_web.demo.play import Play

DAY: Final = timedelta(days=1)
MINUTE: Final = timedelta(minutes=1)
AT_ONCE_SECONDS: Final = 2.0

Step = Callable[[Play], None]
T = TypeVar("T")


def customer_while_engine_is_down(play: Play) -> None:
    """Registration needs nobody but the host; the billing engine hears of it once it is back."""
    engine = play.engine.story
    engine.faults.add(_outage())
    answer, seconds = play.act(
        f"{engine.title} answers 503 to everything; PUT /api/v1/customers/acct_ada",
        lambda: _timed(lambda: play.register("acct_ada")),
    )
    at_once = (answer["id"], seconds < AT_ONCE_SECONDS)
    play.expect("answered at once, although the billing engine is down", at_once, ("acct_ada", True))
    play.expect("the customer waits to be synced", _sync_of(play), "pending")
    play.skip(f"Ten minutes later {engine.title} is still down", 10 * MINUTE, by=MINUTE)
    play.expect("nothing arrived there", engine.customers(), [])
    engine.faults.clear()
    play.skip_until(f"{engine.title} is back", lambda: _sync_of(play) == "synced", most=timedelta(hours=3))
    arrived = [(customer.id, customer.name, customer.email) for customer in engine.customers()]
    play.expect("the customer arrived, once", arrived, [("acct_ada", "Ada & Sons", "billing@ada.example")])


def subscription_to_paid_invoice(play: Play) -> None:
    """The main job: an invoice of the billing engine is collected by the payment provider."""
    engine, payment = play.engine.story, play.payment.story
    play.act("Ada & Sons subscribes", lambda: engine.subscribe("acct_ada"))
    active = [row["status"] for row in play.api.rows("subscriptions") if row["customer"] == "acct_ada"]
    play.expect("the host has the subscription as active", active, ["active"])
    billed, (checkout,) = engine.invoices()[-1], payment.checkouts()
    name = f"{play.engine.name}_invoice_id"
    play.expect(f"the checkout's metadata name the invoice: {name}", checkout.metadata.get(name), billed.id)
    play.expect("it asks for the invoice's total", checkout.amount, billed.total)
    pay_url = play.invoice(billed.id)["pay_url"]
    click = play.act(
        f"The customer opens {pay_url} and clicks", lambda: play.api.visit(pay_url, method="POST")
    )
    play.expect(
        "our own pay link leads to the open checkout, not to a second one", click.location, checkout.url
    )
    play.pay(checkout)
    play.expect_paid(billed.id)
    play.expect(
        "money moved once", [each.amount for each in payment.payments() if each.succeeded], [billed.total]
    )


def decline_and_retry(play: Play) -> None:
    """A soft decline is told to the billing engine and tried again by the schedule."""
    payment = play.payment.story
    play.act("PUT /api/v1/customers/acct_ben", lambda: play.register("acct_ben"))
    invoice_id = play.bill("acct_ben", _eur(12_000))
    first = play.checkout(invoice_id)
    play.act(
        "The customer's card is declined: insufficient funds",
        lambda: payment.decline(first.id, DeclineClass.SOFT),
    )
    play.expect(
        "the billing engine has it as failed",
        play.engine_invoice(invoice_id).payment_status,
        PaymentStatus.FAILED,
    )
    play.expect("so has the host", play.invoice(invoice_id)["payment_status"], "failed")
    play.skip("Two days pass", 2 * DAY)
    play.expect("nothing is tried before its time", len(play.checkouts(invoice_id)), 1)
    play.skip("On the third day", DAY + MINUTE)
    play.expect("the second attempt is made by schedule", len(play.checkouts(invoice_id)), 2)
    keys = [attempt["key"] for attempt in play.invoice(invoice_id)["attempts"]]
    first_key = f"{play.engine.name}-inv-{invoice_id}"
    play.expect("each attempt has its own key", sorted(keys), [first_key, f"{first_key}-attempt-2"])
    play.pay(play.checkout(invoice_id))
    play.expect_paid(invoice_id)


def refunds_to_credit_notes(play: Play) -> None:
    """Money given back is documented in the billing engine, one credit note for each refund."""
    payment = play.payment.story
    invoice_id, payment_id = play.paid_invoice("acct_ben", _eur(9_000))
    play.act(f"{_eur(2_500)} is refunded", lambda: payment.refund(payment_id, _eur(2_500)))
    play.expect(
        "one credit note, its refund closed",
        _notes(play, invoice_id),
        [(_eur(2_500), RefundStatus.SUCCEEDED)],
    )
    play.act("The rest is refunded", lambda: payment.refund(payment_id, None))
    both = [(_eur(2_500), RefundStatus.SUCCEEDED), (_eur(6_500), RefundStatus.SUCCEEDED)]
    play.expect("a second one for the rest", _notes(play, invoice_id), both)
    ours = play.invoice(invoice_id)
    linked = {note["invoice"] for note in ours["credit_notes"]}
    play.expect("the host links both to the invoice", (len(ours["credit_notes"]), linked), (2, {ours["ref"]}))
    play.expect("the payment is refunded in full", ours["payments"][0]["refunded"], 9_000)


def dispute_lost(play: Play) -> None:
    """A dispute that is lost opens the invoice again; while it is open nothing changes."""
    payment = play.payment.story
    invoice_id, payment_id = play.paid_invoice("acct_ben", _eur(7_500))
    dispute = play.act("The customer's bank disputes the payment", lambda: payment.dispute(payment_id))
    open_ = play.invoice(invoice_id)
    play.expect("an open dispute leaves the books alone", (open_["disputed"], open_["balance"]), (False, 0))
    play.act("The bank decides for the customer", lambda: payment.lose(dispute))
    lost = play.invoice(invoice_id)
    play.expect(
        "the invoice is disputed, its balance open again", (lost["disputed"], lost["balance"]), (True, 7_500)
    )


def webhooks_out_of_hand(play: Play) -> None:
    """Twice, in the wrong order, or forged: the books are the same, or nothing is stored."""
    sender = play.payment.story.webhooks
    play.act("PUT /api/v1/customers/acct_cleo", lambda: play.register("acct_cleo"))
    before = len(sender.sent)
    orderly, payment_id = play.paid_invoice("acct_cleo", _eur(5_000))
    play.act(f"{_eur(1_000)} is refunded", lambda: play.payment.story.refund(payment_id, _eur(1_000)))
    order, stored = [each.type for each in sender.sent[before:]], _rows(play)
    disorderly = play.act("The same again, each webhook twice, the last one first", lambda: _disorderly(play))
    told = sender.sent[before + len(order) :]
    play.expect("they came in the opposite order", [each.type for each in told], order[::-1])
    play.expect("one row for each, however often it came", _rows(play) - stored, len(told))
    play.expect("the same books", _books(play, disorderly), _books(play, orderly))
    stored = _rows(play)
    status = play.act("Somebody sends the last webhook with another body", lambda: _forge(play, told[-1]))
    play.expect("a forged webhook is refused", status, 401)
    play.expect("and nothing of it is stored", _rows(play), stored)


def payment_provider_down(play: Play) -> None:
    """An outage delays; an answer lost after the money moved is looked up, never repeated."""
    payment = play.payment.story
    play.authorise("acct_cleo")
    before = len(payment.payments())
    payment.faults.add(_outage())
    invoice_id = play.bill("acct_cleo", _eur(6_400))
    play.expect("nothing was charged", len(payment.payments()) - before, 0)
    play.expect("the attempt is delayed, not lost", _collecting(play, invoice_id)["finished_at"], None)
    pay_url = play.invoice(invoice_id)["pay_url"]
    page = play.api.visit(pay_url)
    play.expect(
        "the pay link shows the invoice as open meanwhile", (page.status, "64.00" in page.text), (200, True)
    )
    play.skip("Half an hour later it is still down", 30 * MINUTE, by=5 * MINUTE)
    payment.faults.clear()
    _lose_one_answer(play, invoice_id)
    charged = [each.amount for each in payment.payments()[before:]]
    play.expect(f"{payment.title} charged once", charged, [_eur(6_400)])
    play.expect_paid(invoice_id)
    page = play.api.visit(pay_url)
    play.expect("the pay link shows it as paid", (page.status, "paid" in page.text.lower()), (200, True))


def _lose_one_answer(play: Play, invoice_id: str) -> None:
    """Let the charge go through while its answer is lost and its webhook late: only a look can tell."""
    payment = play.payment.story
    payment.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST"))
    payment.webhooks.hold = True
    asked = len(payment.calls())
    play.skip_until(
        f"{payment.title} is back, but the answer to the charge is lost, and its webhook is late",
        lambda: _collecting(play, invoice_id)["finished_at"] is not None,
        most=timedelta(hours=6),
    )
    outcomes = [attempt["outcome"] for attempt in _collecting(play, invoice_id)["attempts"]]
    play.expect(
        "the lost answer left the outcome unknown; the next try found it", outcomes[-2:], ["unknown", "done"]
    )
    charges = [call for call in payment.calls()[asked:] if call.method == "POST"]
    play.expect("it was looked up, not charged again", len(charges), 1)

    def release() -> None:
        payment.webhooks.hold = False

    play.act("The webhook arrives", release)


STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("A customer is registered while the billing engine is down", customer_while_engine_is_down),
    ("A subscription's invoice is paid at a checkout, and the books agree", subscription_to_paid_invoice),
    ("A payment is declined and tried again by schedule", decline_and_retry),
    ("A partial refund, then the rest: credit notes", refunds_to_credit_notes),
    ("A dispute is opened and lost", dispute_lost),
    ("Duplicate, reordered and forged webhooks", webhooks_out_of_hand),
    ("The payment provider is down, and one answer is lost", payment_provider_down),
    ("An unpaid invoice: past due, restricted, suspended; paid, all is well", access_story.unpaid_and_paid),
    ("A bank debit fails late", access_story.debit_fails_late),
    ("Canceled, and in use until the end of what is paid", access_story.canceled_and_paid_through),
    ("A chargeback", access_story.chargeback),
    ("Another policy is tried on everybody before it counts", access_story.another_policy),
)


def _eur(cents: int) -> Money:
    return Money(cents, "EUR")


def _outage() -> Fault:
    """Every call is answered 503 until the faults are cleared."""
    return Fault(kind=FaultKind.UNAVAILABLE, times=1_000_000)


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    """Do something and return what it returned and the seconds it took."""
    started = monotonic()
    return action(), monotonic() - started


def _sync_of(play: Play) -> str:
    sync: str = play.api.get("customers", "acct_ada")["sync"][0]["status"]
    return sync


def _notes(play: Play, invoice_id: str) -> list[tuple[Money, RefundStatus | None]]:
    notes = play.engine_invoice(invoice_id).credit_notes
    return sorted(((note.amount, note.refund_status) for note in notes), key=lambda note: note[0])


def _rows(play: Play) -> int:
    """Count what was stored of the payment provider's webhooks."""
    return sum(1 for row in play.api.rows("events") if row["connection"] == play.payment.name)


def _disorderly(play: Play) -> str:
    """Bill, pay and refund in part, with the payment provider's webhooks in the worst order; return the invoice."""
    sender = play.payment.story.webhooks
    play.engine.story.webhooks.duplicate = 1
    invoice_id = play.engine.story.invoice("acct_cleo", _eur(5_000))
    play.stage.settle()
    sender.hold = True
    play.payment.story.refund(play.payment.story.pay(play.checkout(invoice_id).id), _eur(1_000))
    sender.reverse()
    sender.duplicate = sender.waiting()
    sender.hold = False
    return invoice_id


def _books(play: Play, invoice_id: str) -> dict[str, Any]:
    """Return what must not depend on the order of deliveries."""
    ours = play.invoice(invoice_id)
    return {
        "invoice": [ours[name] for name in ("payment_status", "paid", "balance", "disputed", "flags")],
        "payments": [(each["status"], each["amount"], each["refunded"]) for each in ours["payments"]],
        "refunds": [(each["status"], each["amount"]) for each in ours["refunds"]],
        "credit notes": _notes(play, invoice_id),
        "effects": sorted(each["kind"] for each in play.effects(invoice_id)),
    }


def _forge(play: Play, genuine: Outgoing) -> int:
    """Send a webhook whose signature is another body's; return the status."""
    body = genuine.body()
    headers = genuine.headers(body, play.stage.clock.now())
    return play.api.deliver(play.payment.name, body.replace(b"5000", b"1", 1) + b" ", headers)


def _collecting(play: Play, invoice_id: str) -> dict[str, Any]:
    """Return the effect that collects an invoice for the first time."""
    return next(each for each in play.effects(invoice_id) if each["kind"] == "collect_invoice")
