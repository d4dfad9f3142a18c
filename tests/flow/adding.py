"""acct_1 with a browser, adding payment methods over Stripe's wire."""

from __future__ import annotations

from werkzeug.test import Client

from billhook.methods import PageState
from billhook.model import PaymentStatus
from billhook_stripe.sandbox import API_KEY
from billhook_web.services.wallet import Added, Wish
from billhook_web.stores import audit
from billhook_web.stores.outbox import EffectStatus
from tests.flow.flow import Flow

GOOD, ASKS, REFUSED = "4242424242424242", "4000002760003184", "4000000000000002"
CHARGE_FAILS = "4000000000000341"
"""A card that can be saved and then is declined."""


class Customer:
    """acct_1 with a browser."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        flow.api("PUT", "/customers/acct_1", name="Acme & Sons", email="billing@acme.example", currency="EUR")
        flow.settle()

    def send_form(self, *, form: str = "first", wish: Wish | None = None) -> str:
        """Send the form; return the set-up it began."""
        begun = self.flow.runtime.methods.begin("acct_1", "stripe", form=form, wish=wish or Wish())
        assert begun.state is PageState.OPEN
        return begun.id

    def confirm(self, setup: str, method: str) -> None:
        """Fill the form in and leave the bank's question open, as a browser that is closed then."""
        answer = Client(self.flow.stripe).post(
            f"/v1/setup_intents/{setup}/confirm",
            data={"payment_method": method, "return_url": "https://billing.test/"},
            headers={"Authorization": f"Bearer {API_KEY}"},
        )
        assert answer.get_json()["status"] == "requires_action"

    def come_back(self, setup: str) -> Added:
        """Look at the page after the form."""
        return self.flow.runtime.methods.finish("acct_1", "stripe", setup)

    def keep(self, card: str) -> None:
        """Add a card, with all that follows."""
        self.flow.stripe.save(self.send_form(form=f"form-{card}"), card=card)
        self.flow.settle()

    def kept(self) -> list[tuple[str | None, bool]]:
        """Return the last digits of what is kept, the default first, and whether it is the default."""
        held = self.flow.runtime.methods.wallet("acct_1").held
        return [(each.saved.method.last4, each.saved.default) for each in held]

    def choose_the_other(self) -> list[tuple[str | None, bool]]:
        """Make the method the default that is not; return what is kept."""
        methods = self.flow.runtime.methods
        methods.choose("acct_1", str(methods.wallet("acct_1").held[1].ref))
        return self.kept()

    def failed_invoice(self) -> str:
        """Get an invoice that the card on file does not pay."""
        self.keep(CHARGE_FAILS)
        invoice = str(self.flow.lago.issue_invoice("acct_1", 12000)["lago_id"])
        self.flow.settle()
        assert self.flow.invoice(invoice).payment_status is PaymentStatus.FAILED
        return invoice

    def noted(self) -> int:
        """Count what is written down of added methods."""
        with self.flow.runtime.db.read() as tx:
            return len(audit.page(tx, action="payment_method.add"))

    def paid(self) -> list[int]:
        """Return what was taken from their cards."""
        charges = self.flow.stripe.charges
        return [each["amount"] for each in charges if each["status"] == "succeeded"]


def arranged(flow: Flow, setup: str) -> EffectStatus:
    (effect,) = [each for each in flow.effects("arrange_method") if each.key.endswith(f"/{setup}")]
    return effect.status


def assert_paid_once(flow: Flow, customer: Customer, invoice: str) -> None:
    flow.settle()
    assert flow.invoice(invoice).payment_status is PaymentStatus.SUCCEEDED
    assert customer.paid() == [12000]
    assert [payment["amount_cents"] for payment in flow.lago.payments] == [12000]
    assert flow.dead() == []
