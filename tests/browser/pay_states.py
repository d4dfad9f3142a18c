"""The pay page in every state: rows for a database, and a host on loopback that serves them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from flask import Flask
from werkzeug.serving import make_server

from billhook.clock import VirtualClock
from billhook.errors import Refused, Temporary
from billhook.model import Decline, DeclineClass, Invoice, InvoiceStatus, Payment, PaymentStatus, Period, Ref
from billhook.money import Money
from billhook_web.pages import install_pages
from billhook_web.pay import pay_blueprint
from billhook_web.portal import visitors
from billhook_web.runtime import build_runtime
from billhook_web.services.paying import Paying
from billhook_web.settings import read_configuration
from billhook_web.stores import billing, tables
from billhook_web.stores.billing import Row

NOW = datetime(2026, 11, 21, 14, 3, tzinfo=UTC)
OPEN = Invoice(
    ref=Ref("acme", "open"),
    customer_id="acct_1",
    number="INV-2026-0113",
    kind="subscription",
    status=InvoiceStatus.FINALIZED,
    currency="EUR",
    total=124800,
    taxes=20800,
    due=124800,
    paid=0,
    balance=124800,
    payment_status=PaymentStatus.PENDING,
    engine_status=PaymentStatus.PENDING,
    issued_on=date(2026, 11, 1),
    due_on=date(2026, 12, 1),
    subscriptions=("sub_1",),
    period=Period(start=datetime(2026, 11, 1, tzinfo=UTC), end=datetime(2026, 12, 1, tzinfo=UTC)),
    finalized_at=NOW,
)
DECLINE = Decline(code="x", kind=DeclineClass.SOFT, message="There is not enough money on the card.")

STATES: Mapping[str, Invoice] = {
    "open": OPEN,
    "overdue": replace(OPEN, due_on=date(2026, 11, 8), subscriptions=("a", "b", "c")),
    "failed": replace(OPEN, payment_status=PaymentStatus.FAILED),
    "processing": replace(OPEN, payment_status=PaymentStatus.PROCESSING),
    "paid": replace(OPEN, payment_status=PaymentStatus.SUCCEEDED, paid=124800, balance=0),
    "void": replace(OPEN, status=InvoiceStatus.VOIDED, balance=0),
    "reopened": replace(
        OPEN, total=134800, paid=24800, balance=100000, disputed=True, due_on=date(2026, 11, 8)
    ),
    "draft": replace(OPEN, status=InvoiceStatus.DRAFT),
    "long": replace(
        OPEN,
        number="ACME-CORPORATION-INTERNATIONAL-2026-11-000000000113-REVISION-B",
        currency="IDR",
        total=98765432100,
        due=98765432100,
        balance=98765432100,
    ),
}


class Desk(Paying):
    """Opens checkouts at one address, refuses, or does not answer, by the invoice that is asked for."""

    checkout_url = ""

    def checkout(self, token: str) -> str | None:
        view = self.view(token)
        match view.invoice.ref.id if view else None:
            case "overdue":
                raise Temporary("no answer")
            case "reopened":
                raise Refused("no")
            case "open" | "failed":
                return self.checkout_url
            case _:
                return None


@dataclass(frozen=True)
class Site:
    """Where the pages are: the host's address and a token for each state."""

    url: str
    checkout_url: str
    tokens: Mapping[str, str]
    desk: Desk

    def page(self, state: str, query: str = "") -> str:
        return f"{self.url}/pay/{self.tokens.get(state, state)}{query}"

    def become(self, state: str, other: str) -> None:
        """Let one state's invoice turn into another's, as a webhook would."""
        _store(self.desk, state, STATES[other])


@contextmanager
def served(folder: Path) -> Iterator[Site]:
    """Serve all states on loopback, and a checkout on another port."""
    env = {"BILLHOOK_DATABASE_URL": f"sqlite:///{folder / 'pay.sqlite3'}"}
    runtime = build_runtime(read_configuration(env), clock=VirtualClock(NOW), installed=())
    tables.metadata.create_all(runtime.db.engine)
    desk = Desk(
        db=runtime.db,
        clock=runtime.clock,
        connections=runtime.connections,
        deliver=runtime.delivery.deliver,
        ask=runtime.breakers.ask,
    )
    app = Flask("billhook_web")
    install_pages(app, runtime)
    app.register_blueprint(pay_blueprint(replace(runtime, paying=desk), visitors(runtime)))
    tokens = {state: _store(desk, state, invoice) for state, invoice in STATES.items()}
    with listening(app) as url, listening(_checkout()) as checkout_url:
        desk.checkout_url = f"{checkout_url}/session"
        yield Site(url, desk.checkout_url, tokens, desk)
    runtime.close()


def _checkout() -> Flask:
    app = Flask("checkout")
    app.add_url_rule("/session", view_func=lambda: "<!doctype html><title>Checkout</title><h1>Checkout</h1>")
    return app


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def _store(desk: Desk, state: str, invoice: Invoice) -> str:
    invoice = replace(invoice, ref=Ref("acme", state))
    payment = _payment(invoice)
    with desk._db.begin() as tx:
        billing.invoices.put(tx, invoice.ref, invoice, Row(customer_id=None, status="", at=NOW))
        if payment is not None:
            row = Row(customer_id=None, status="", at=NOW, invoice=invoice.ref)
            billing.payments.put(tx, payment.ref, payment, row)
        return billing.pay_token(tx, invoice.ref, candidate=f"{state:_<32}", now=NOW)


def _payment(invoice: Invoice) -> Payment | None:
    status = invoice.payment_status
    if status not in (PaymentStatus.SUCCEEDED, PaymentStatus.FAILED):
        return None
    amount = Money(invoice.due, invoice.currency)
    return Payment(
        ref=Ref("pay", invoice.ref.id),
        status=status,
        amount=amount,
        applied=amount,
        at=NOW,
        invoice=invoice.ref,
        decline=DECLINE if status is PaymentStatus.FAILED else None,
    )
