"""What the portal's pages cost: milliseconds until a page is written, and what a browser loads, for 1,000 invoices."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median

from werkzeug.test import Client, TestResponse

from benchmarks import report
from billhook.clock import VirtualClock
from billhook.model import Invoice, InvoiceStatus, PaymentStatus, Ref
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.pages.places import PLACES
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.settings import read_configuration
from billhook_web.stores import billing, schema
from billhook_web.stores.billing import Row

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
HOST = "http://billing.test"
UNPAID_OF = 20
"""Of so many invoices one is not paid."""

_FILES = re.compile(r'(?:href|src)="(/assets/[^"#]+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A page: milliseconds of each time it was made, its own bytes, and those of a first visit with all it loads."""

    page: str
    milliseconds: list[float]
    own: int
    first_visit: int


def measure(*, invoices: int, times: int) -> list[Cost]:
    """Return what every page of the portal costs a customer with so many invoices."""
    with tempfile.TemporaryDirectory() as folder:
        runtime = _host(Path(folder), invoices)
        visit = _signed_in(runtime)
        costs = [_cost(visit, place.path, times) for place in PLACES]
        runtime.close()
    return costs


def _host(folder: Path, invoices: int) -> Runtime:
    env = {"BILLHOOK_DATABASE_URL": f"sqlite:///{folder / 'portal.sqlite3'}", "BILLHOOK_LOG_LEVEL": "ERROR"}
    runtime = build_runtime(read_configuration(env), clock=VirtualClock(NOW), installed=())
    schema.upgrade(runtime.db)
    runtime.customers.upsert("ada", {"name": "Ada", "locale": "de-DE", "timezone": "Europe/Berlin"})
    with runtime.db.begin() as tx:
        for number in range(invoices):
            invoice = _invoice(number)
            billing.invoices.put(
                tx, invoice.ref, invoice, Row(customer_id="ada", status=invoice.payment_status, at=NOW)
            )
    return runtime


def _invoice(number: int) -> Invoice:
    unpaid = number % UNPAID_OF == 0
    status = PaymentStatus.PENDING if unpaid else PaymentStatus.SUCCEEDED
    return Invoice(
        ref=Ref("acme", f"inv_{number:06d}"), customer_id="ada", number=f"INV-{number:06d}", kind="subscription",
        status=InvoiceStatus.FINALIZED, currency="EUR", total=4900, taxes=0, due=4900, paid=0 if unpaid else 4900,
        balance=4900 if unpaid else 0, payment_status=status, engine_status=status, due_on=date(2026, 9, 1),
    )  # fmt: skip


def _signed_in(runtime: Runtime) -> Callable[[str], TestResponse]:
    client = Client(create_app(runtime, Wake(runtime)))
    token = runtime.portal.issue("ada", page="overview", return_url=None).token
    offered = client.get(f"/portal/enter/{token}", base_url=HOST)
    found = re.search(r'name="csrf_token" value="([^"]+)"', offered.text)
    client.post(f"/portal/enter/{token}", base_url=HOST, data={"csrf_token": found[1] if found else ""})
    return lambda path: client.get(path, base_url=HOST, headers={"Accept-Encoding": "gzip"})


def _cost(visit: Callable[[str], TestResponse], path: str, times: int) -> Cost:
    page = visit(path)  # the first one compiles the template
    if page.status_code != 200:
        raise SystemExit(f"{path} answers {page.status_code}")
    milliseconds = []
    for _ in range(times):
        began = time.perf_counter()
        visit(path)
        milliseconds.append((time.perf_counter() - began) * 1000)
    files = sum(len(visit(address).data) for address in set(_FILES.findall(page.text)))
    return Cost(page=path, milliseconds=milliseconds, own=len(page.data), first_visit=len(page.data) + files)


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
            f"{cost.own / 1000:.1f}",
            f"{cost.first_visit / 1000:.1f}",
        )
        for cost in costs
    ]
    head = ("page", "ms", "ms, 95th percentile", "kB of the page", "kB of a first visit")
    report.publish("Portal pages at 1,000 invoices", report.table(head, rows), quick=chosen.quick)


if __name__ == "__main__":
    main()
