"""A portal on loopback whose customers stand in every way there is, and links into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from billhook.clock import VirtualClock
from billhook.errors import Temporary
from billhook.model import Invoice, PaymentStatus, Ref
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.settings import read_configuration
from billhook_web.stores import access, billing, tables
from billhook_web.stores.access import Stored
from billhook_web.stores.billing import Row
from tests.browser.pay_states import NOW, OPEN, listening

RETURN_URL = "https://app.example/settings/billing"

INVOICES: Mapping[str, tuple[Invoice, ...]] = {
    "clear": (),
    "open": (replace(OPEN, ref=Ref("acme", "p1")),),
    "past_due": (
        replace(OPEN, ref=Ref("acme", "p2"), due_on=date(2026, 11, 8)),
        replace(
            OPEN,
            ref=Ref("acme", "p3"),
            number="INV-2026-0117",
            payment_status=PaymentStatus.PROCESSING,
            balance=5840,
        ),
    ),
    "limited": (replace(OPEN, ref=Ref("acme", "p4"), due_on=date(2026, 11, 1), balance=5840),),
    "paused": (
        replace(OPEN, ref=Ref("acme", "p5"), due_on=date(2026, 9, 1), payment_status=PaymentStatus.FAILED),
        replace(OPEN, ref=Ref("acme", "p6"), number="INV-2026-0098", due_on=date(2026, 10, 1)),
    ),
    "german": (
        replace(OPEN, ref=Ref("acme", "p7"), due_on=date(2026, 11, 8)),
        replace(OPEN, ref=Ref("acme", "p8"), number="INV-2026-0117", currency="JPY", balance=120000),
    ),
}
ACCESS: Mapping[str, tuple[str, str | None]] = {
    "clear": ("full", None),
    "past_due": ("full", "limited"),
    "limited": ("limited", "none"),
    "paused": ("none", None),
    "german": ("full", "none"),
}
LOCALES: Mapping[str, str] = {"german": "de-DE"}


class Deciding:
    """Decides as usual, but fails for two customers: one whose provider is down, one that hits a bug."""

    def __init__(self, really: Any) -> None:
        self._really = really

    def answer(self, customer_id: str) -> Any:
        match customer_id:
            case "down":
                raise Temporary("no answer")
            case "bug":
                raise RuntimeError("nobody foresaw this")
            case _:
                return self._really.answer(customer_id)


@dataclass(frozen=True)
class Portal:
    """Where the portal is."""

    url: str
    runtime: Runtime
    clock: VirtualClock

    def link(self, customer: str, *, page: str = "overview", return_url: str | None = RETURN_URL) -> str:
        """Return a fresh link for a customer."""
        issued = self.runtime.portal.issue(customer, page=page, return_url=return_url)
        return f"{self.url}/portal/enter/{issued.token}"


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[Portal]:
    """Serve the portal on loopback."""
    clock = VirtualClock(NOW)
    env = {
        "BILLHOOK_DATABASE_URL": f"sqlite:///{folder / 'portal.sqlite3'}",
        "BILLHOOK_PORTAL_RETURN_ORIGINS": "https://app.example",
        "BILLHOOK_BRAND_NAME": "Northwind",
        "BILLHOOK_BRAND_SUPPORT_URL": "mailto:billing@northwind.example",
        **settings,
    }
    runtime = build_runtime(read_configuration(env), clock=clock, installed=())
    tables.metadata.create_all(runtime.db.engine)
    for name in (*INVOICES, "down", "bug"):
        _customer(runtime, name)
    runtime = replace(runtime, deciding=Deciding(runtime.deciding))  # type: ignore[arg-type]  # stands in for it
    with listening(create_app(runtime, Wake(runtime))) as url:
        yield Portal(url, runtime, clock)
    runtime.close()


def _customer(runtime: Runtime, name: str) -> None:
    fields = {
        "name": "Acme Robotics Ltd",
        "email": "ada@acme.example",
        "locale": LOCALES.get(name, "en-GB"),
        "timezone": "Europe/Berlin" if name in LOCALES else "Europe/London",
    }
    runtime.customers.upsert(name, fields)
    with runtime.db.begin() as tx:
        for invoice in INVOICES.get(name, ()):
            row = Row(customer_id=name, status=invoice.payment_status, at=NOW)
            billing.invoices.put(tx, invoice.ref, replace(invoice, customer_id=name), row)
        if name in ACCESS:
            access.put(tx, _decision(name))


def _decision(name: str) -> Stored:
    now, after = ACCESS[name]
    later = NOW + timedelta(days=10)
    body: dict[str, Any] = {
        "customer": name,
        "state": now,
        "access": now,
        "block_changes": False,
        "since": datetime(2026, 11, 15, tzinfo=UTC).isoformat(),
        "next_change_at": later.isoformat() if after else None,
        "next": {"state": after, "access": after} if after else None,
    }
    return Stored(
        customer_id=name,
        version=1,
        body=body,
        policy=0,
        changed_at=NOW,
        settled_at=NOW,
        next_change_at=later if after else None,
        fresh_until=None,
    )
