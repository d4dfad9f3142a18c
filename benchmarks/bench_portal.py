"""What the pages for customers cost: milliseconds until one is written, and what a browser loads, for 1,000 invoices.

A page shall take less than 50 ms and weigh less than 100 kB at a first visit, without the script of a provider.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from web.tests.keeping import Shop, make_shop
from werkzeug.test import Client, TestResponse

from benchmarks import report
from billhook.model import Invoice, InvoiceStatus, PaymentStatus, Ref
from billhook.money import Money
from billhook_web.db import Database
from billhook_web.pages.places import PLACES
from billhook_web.services.wallet import Wish
from billhook_web.stores import billing, schema
from billhook_web.stores.billing import Row

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
HOST = "https://billing.test"
CUSTOMER = "acct_1"
METHODS_KEPT = 5
UNPAID_OF = 20
"""Of so many invoices one is not paid."""

_FILES = re.compile(r'(?:href|src)="(/assets/[^"#]+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A page: milliseconds of each time it was made, its own bytes, and those of a first visit with all it loads.

    ``busy``: those of them in which the processor worked for it; other work on the machine does not count there.
    """

    page: str
    milliseconds: list[float]
    busy: list[float]
    own: int
    first_visit: int


def measure(*, invoices: int, times: int) -> list[Cost]:
    """Return what every page of the portal, and the pay page, costs a customer with so many invoices."""
    with tempfile.TemporaryDirectory() as folder:
        shop = _host(Path(folder), invoices)
        visit = _signed_in(shop)
        costs = [_cost(visit, name, path, times) for name, path in _pages(shop).items()]
        shop.runtime.close()
    return costs


def _host(folder: Path, invoices: int) -> Shop:
    """Return a host whose provider is in memory: what is measured is ours, without the provider's answer."""
    file = folder / "portal.sqlite3"
    empty = Database(f"sqlite:///{file}")
    schema.upgrade(empty)
    empty.close()
    shop = make_shop(file)
    shop.runtime.customers.upsert(CUSTOMER, {"name": "Ada", "locale": "de-DE", "timezone": "Europe/Berlin"})
    for number in range(METHODS_KEPT):
        shop.provider().keep(f"cus_{CUSTOMER}", f"pm_{number}")
    with shop.runtime.db.begin() as tx:
        for number in range(invoices):
            invoice = _invoice(number)
            row = Row(customer_id=CUSTOMER, status=invoice.payment_status, at=NOW)
            billing.invoices.put(tx, invoice.ref, invoice, row)
    return shop


def _invoice(number: int) -> Invoice:
    unpaid = number % UNPAID_OF == 0
    status = PaymentStatus.PENDING if unpaid else PaymentStatus.SUCCEEDED
    return Invoice(
        ref=Ref("acme", f"inv_{number:06d}"), customer_id=CUSTOMER, number=f"INV-{number:06d}", kind="subscription",
        status=InvoiceStatus.FINALIZED, currency="EUR", total=4900, taxes=0, due=4900, paid=0 if unpaid else 4900,
        balance=4900 if unpaid else 0, payment_status=status, engine_status=status, due_on=date(2026, 9, 1),
    )  # fmt: skip


def _pages(shop: Shop) -> dict[str, str]:
    """Return the address of every page by its name here: places, what they lead to, how adding ends, the pay page."""
    methods = "/portal/payment-methods"
    begun = shop.begin(form="open").id
    done = shop.begin(form="done", wish=Wish(default=False)).id
    shop.provider().complete(done, "pm_done")
    return {
        **{place.path: place.path for place in PLACES},
        f"{methods}/new": f"{methods}/new",
        f"{methods}/…/remove": f"{methods}/keeps:pm_1/remove",
        f"{methods}/added/…, waits": f"{methods}/added/keeps/{begun}",
        f"{methods}/added/…, saved": f"{methods}/added/keeps/{done}",
        "/pay/…": _pay_page(shop),
    }


def _pay_page(shop: Shop) -> str:
    invoice = shop.engine.bill(CUSTOMER, Money(4900, "EUR"))
    shop.apply_and_deliver(*shop.engine.facts_of(invoice))
    with shop.runtime.db.begin() as tx:
        return urlsplit(shop.runtime.collecting.pay_url(tx, invoice)).path


def _signed_in(shop: Shop) -> Callable[[str], TestResponse]:
    client = Client(shop.app)
    token = shop.runtime.portal.issue(CUSTOMER, page="overview", return_url=None).token
    offered = client.get(f"/portal/enter/{token}", base_url=HOST)
    found = re.search(r'name="csrf_token" value="([^"]+)"', offered.text)
    client.post(f"/portal/enter/{token}", base_url=HOST, data={"csrf_token": found[1] if found else ""})
    return lambda path: client.get(path, base_url=HOST, headers={"Accept-Encoding": "gzip"})


def _cost(visit: Callable[[str], TestResponse], name: str, path: str, times: int) -> Cost:
    page = visit(path)  # the first one compiles the template
    if page.status_code != 200:
        raise SystemExit(f"{path} answers {page.status_code}")
    milliseconds, busy = [], []
    for _ in range(times):
        began, worked = time.perf_counter(), time.process_time()
        visit(path)
        milliseconds.append((time.perf_counter() - began) * 1000)
        busy.append((time.process_time() - worked) * 1000)
    files = sum(len(visit(address).data) for address in set(_FILES.findall(page.text)))
    return Cost(
        page=name, milliseconds=milliseconds, busy=busy, own=len(page.data), first_visit=len(page.data) + files
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "")
    costs = measure(
        invoices=50 if chosen.quick else 1000, times=5 * chosen.rounds if chosen.quick else 40 * chosen.rounds
    )
    rows = [
        (
            cost.page,
            f"{median(cost.milliseconds):.1f}",
            f"{report.percentile(cost.milliseconds, 0.95):.1f}",
            f"{median(cost.busy):.1f}",
            f"{cost.own / 1000:.1f}",
            f"{cost.first_visit / 1000:.1f}",
        )
        for cost in costs
    ]
    head = ("page", "ms", "ms, 95th percentile", "ms of CPU", "kB of the page", "kB of a first visit")
    report.publish("Portal pages at 1,000 invoices", report.table(head, rows), quick=chosen.quick)


if __name__ == "__main__":
    main()
