"""What the steps of the story are made of: acts, whose consequences are shown, and checks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from billhook.model import PaymentStatus, Ref
from billhook.money import Money
from billhook.testing.story import EngineStory, PaymentStory, StoryCheckout, StoryInvoice
from billhook_web.demo.api import Api
from billhook_web.demo.casting import Role
from billhook_web.demo.news import look, news
from billhook_web.demo.stage import Stage
from billhook_web.demo.telling import Telling
from billhook_web.services.connections import CUSTOMER_KEY

T = TypeVar("T")

NAMES = {
    "acct_ada": "Ada & Sons",
    "acct_ben": "Ben GmbH",
    "acct_cleo": "Cleo SARL",
    "acct_dora": "Dora Ltd",
    "acct_emil": "Emil AG",
    "acct_fay": "Fay Inc",
    "acct_gil": "Gil BV",
    "acct_hana": "Hana KK",
}


class NotFoundOnStage(Exception):
    """The story needs something that is not there; the message names it."""


class Play:
    """One telling of the story on a stage."""

    def __init__(self, stage: Stage, telling: Telling, api: Api) -> None:
        self.stage = stage
        self.telling = telling
        self.api = api
        self._seen = look(api, stage.cast)

    @property
    def engine(self) -> Role[EngineStory]:
        """Return who plays the billing engine."""
        return self.stage.cast.engine

    @property
    def payment(self) -> Role[PaymentStory]:
        """Return who plays the payment provider."""
        return self.stage.cast.payment

    # --- acts ----------------------------------------------------------------------------------------------------

    def act(self, text: str, action: Callable[[], T]) -> T:
        """Let somebody do something, wait until all that follows from it has happened, and show it."""
        self.telling.beat(text)
        result = action()
        self.stage.settle()
        before, self._seen = self._seen, look(self.api, self.stage.cast)
        self.telling.news(news(before, self._seen, self.api, self.stage.cast))
        return result

    def skip(self, text: str, span: timedelta, *, by: timedelta | None = None) -> None:
        """Let time pass, at one stroke or in steps, and show what it brings."""
        step = by or span

        def pass_time() -> None:
            for _ in range(span // step):
                self.stage.skip(step)

        self.act(text, pass_time)

    def skip_until(self, text: str, happened: Callable[[], bool], *, most: timedelta) -> None:
        """Let time pass, a minute at a time, until something has happened, and show what it brought."""
        minute = timedelta(minutes=1)
        self.act(text, lambda: self.stage.skip_until(happened, by=minute, most=most))

    def register(self, customer_id: str) -> dict[str, Any]:
        """Register a customer through the API; return the answer."""
        address = {"line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
        email = f"billing@{customer_id.removeprefix('acct_')}.example"
        body = {"name": NAMES[customer_id], "email": email, "currency": "EUR", "address": address}
        return self.api.put("customers", customer_id, json=body)[1]

    def bill(self, customer_id: str, amount: Money) -> str:
        """Let the billing engine invoice a customer; return the invoice's id there."""
        text = f"{self.engine.story.title} bills {NAMES[customer_id]} {amount}"
        return self.act(text, lambda: self.engine.story.invoice(customer_id, amount))

    def pay(self, checkout: StoryCheckout) -> str:
        """Let a customer pay at a hosted page; return the payment's id."""
        text = f"The customer pays {checkout.amount} at the hosted page"
        return self.act(text, lambda: self.payment.story.pay(checkout.id))

    def paid_invoice(self, customer_id: str, amount: Money) -> tuple[str, str]:
        """Bill a customer who pays at once; return the ids of invoice and payment."""
        text = f"{self.engine.story.title} bills {NAMES[customer_id]} {amount}, and the customer pays"

        def bill_and_pay() -> tuple[str, str]:
            invoice_id = self.engine.story.invoice(customer_id, amount)
            self.stage.settle()
            return invoice_id, self.payment.story.pay(self.checkout(invoice_id).id)

        return self.act(text, bill_and_pay)

    def authorise(self, customer_id: str) -> None:
        """Let a customer agree to be charged without being there."""
        text = f"{NAMES[customer_id]} agrees to be charged without being there"
        self.act(text, lambda: self.payment.story.authorise({CUSTOMER_KEY: customer_id}))

    # --- what is there to see --------------------------------------------------------------------------------------

    def checkouts(self, invoice_id: str) -> list[StoryCheckout]:
        """Return the hosted pages that were opened for an invoice, oldest first."""
        name = f"{self.engine.name}_invoice_id"
        return [each for each in self.payment.story.checkouts() if each.metadata.get(name) == invoice_id]

    def checkout(self, invoice_id: str) -> StoryCheckout:
        """Return the hosted page where an invoice can be paid now."""
        usable = [each for each in self.checkouts(invoice_id) if each.usable]
        if not usable:
            raise NotFoundOnStage(
                f"{self.payment.story.title} has no open checkout for invoice {invoice_id}."
            )
        return usable[-1]

    def engine_invoice(self, invoice_id: str) -> StoryInvoice:
        """Return an invoice as the billing engine has it."""
        for each in self.engine.story.invoices():
            if each.id == invoice_id:
                return each
        raise NotFoundOnStage(f"{self.engine.story.title} has no invoice {invoice_id}.")

    def invoice(self, invoice_id: str) -> dict[str, Any]:
        """Return an invoice as the host has it, with everything that hangs on it."""
        return self.api.get("invoices", str(Ref(self.engine.name, invoice_id)))

    def effects(self, subject: str) -> list[dict[str, Any]]:
        """Return the effects about an invoice or a customer, oldest first, each with its tries."""
        about = {subject, str(Ref(self.engine.name, subject))}
        rows = [row for row in self.api.rows("effects") if row["subject"] in about]
        return [self.api.get("effects", str(row["id"])) for row in reversed(rows)]

    # --- checks ------------------------------------------------------------------------------------------------------

    def expect(self, claim: str, actual: object, expected: object = True) -> None:
        """Check a claim."""
        self.telling.check(claim, actual=actual, expected=expected)

    def expect_paid(self, invoice_id: str) -> None:
        """Check that billing engine and host agree that an invoice is paid in full."""
        theirs, ours = self.engine_invoice(invoice_id), self.invoice(invoice_id)
        self.expect(
            f"{self.engine.story.title} has the invoice as paid in full",
            (theirs.payment_status, theirs.paid),
            (PaymentStatus.SUCCEEDED, theirs.total),
        )
        self.expect("so has the host", (ours["payment_status"], ours["balance"]), ("succeeded", 0))
