"""A host with a portal, and a customer's browser in it: asks for links, goes in, sends forms."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.test import Client, TestResponse

from billhook.clock import VirtualClock
from billhook.model import Invoice, InvoiceStatus, PaymentStatus, Ref
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.settings import read_configuration
from billhook_web.stores import billing
from billhook_web.stores.billing import Row

COOKIE = "__Host-billhook_portal"
RETURN_URL = "https://app.test/settings"
HOST = "https://billing.test"
_FIELD = re.compile(r'name="csrf_token" value="([^"]+)"')

START = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)


def make_host(folder: Path, empty_database: Path, **settings: str) -> Runtime:
    """Return a host without plugins that may lead back to https://app.test."""
    path = shutil.copy(empty_database, folder / "billhook.sqlite3")
    env = {
        "BILLHOOK_DATABASE_URL": f"sqlite:///{path}",
        "BILLHOOK_API_KEY": "bh_test_0123456789abcdef",
        "BILLHOOK_PUBLIC_URL": HOST,
        "BILLHOOK_PORTAL_RETURN_ORIGINS": "https://app.test",
        **settings,
    }
    return build_runtime(read_configuration(env), clock=VirtualClock(START), installed=())


@dataclass
class Browser:
    """One browser: keeps cookies, follows nothing by itself."""

    runtime: Runtime
    app: Flask
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    @property
    def clock(self) -> VirtualClock:
        assert isinstance(self.runtime.clock, VirtualClock)
        return self.runtime.clock

    @property
    def cookie(self) -> str | None:
        """The session's token, as the browser keeps it."""
        found = self.client.get_cookie(COOKIE, domain="billing.test")
        return found.value if found else None

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, base_url=HOST, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self.client.post(path, base_url=HOST, **options)

    def link(self, customer: str, *, page: str = "overview", return_url: str | None = RETURN_URL) -> str:
        """Return the path of a fresh link."""
        issued = self.runtime.portal.issue(customer, page=page, return_url=return_url)
        return f"/portal/enter/{issued.token}"

    def go_in(self, path: str) -> TestResponse:
        """Open a link and send its form, as the page's script does."""
        offered = self.get(path)
        found = _FIELD.search(offered.text)
        return offered if found is None else self.post(path, data={"csrf_token": found[1]})

    def signed_in(self, customer: str) -> Browser:
        """Go in as a customer."""
        entered = self.go_in(self.link(customer))
        assert entered.status_code == 303, entered.text
        return self

    def token(self) -> str:
        """Return what the forms of this session carry."""
        found = _FIELD.search(self.get("/portal/").text)
        assert found is not None
        return found[1]

    def wait(self, **span: int) -> None:
        self.clock.advance(timedelta(**span))


def register(runtime: Runtime, customer: str, **fields: Any) -> None:
    runtime.customers.upsert(customer, fields)


def owe(runtime: Runtime, customer: str, name: str = "inv_1", **fields: Any) -> Ref:
    """Give a customer an unpaid invoice; return its ref."""
    ref = Ref("acme", name)
    given: dict[str, Any] = {
        "number": f"INV-{name}",
        "kind": "subscription",
        "status": InvoiceStatus.FINALIZED,
        "currency": "EUR",
        "total": 4900,
        "taxes": 0,
        "due": 4900,
        "paid": 0,
        "balance": 4900,
        "payment_status": PaymentStatus.PENDING,
        "engine_status": PaymentStatus.PENDING,
        **fields,
    }
    invoice = Invoice(ref=ref, customer_id=customer, **given)
    row = Row(customer_id=customer, status=invoice.payment_status, at=runtime.clock.now())
    with runtime.db.begin() as tx:
        billing.invoices.put(tx, ref, invoice, row)
    return ref
