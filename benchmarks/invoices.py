"""Invoices by number, as the billing engine writes them: taken from its sandbox once, with other ids for every number."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from billhook.clock import VirtualClock
from billhook.http import ApiClient
from billhook_lago.sandbox import LagoSandbox

CUSTOMERS = 5000
"""So many customers have all the invoices."""

KEY = {"Authorization": "Bearer lago-sandbox-key"}

_AMOUNT = 4200
_INVOICE, _CUSTOMER, _NUMBER = "in-template", "cu-template", "no-template"


def invoice_id(number: int) -> str:
    """Return the id of an invoice."""
    return f"00000000-0000-4000-8000-{number:012d}"


def webhook(number: int) -> bytes:
    """Return what is delivered when an invoice is issued."""
    return b'{"webhook_type": "invoice.created", "object_type": "invoice", "invoice": ' + whole(number) + b"}"


def whole(number: int) -> bytes:
    """Return an invoice as it is when it is asked for."""
    return _of(_templates()[0], number)


def row(number: int) -> bytes:
    """Return an invoice as lists show it."""
    return _of(_templates()[1], number)


def _of(template: str, number: int) -> bytes:
    customer = f"acct-{number % CUSTOMERS:05d}"
    text = template.replace(_INVOICE, invoice_id(number)).replace(_CUSTOMER, customer)
    return text.replace(_NUMBER, f"BEN-{number:08d}").encode()


@cache
def _templates() -> tuple[str, str]:
    lago = LagoSandbox(clock=VirtualClock(datetime(2026, 9, 1, tzinfo=UTC)))
    api = ApiClient(name="lago", base_url="http://lago.test/api/v1", headers=KEY, app=lago)
    details = {"external_id": "template", "name": "Ada", "email": "ada@acme.example", "currency": "EUR"}
    customer: Any = api.post("customers", json={"customer": details}).json()
    issued = lago.issue_invoice("template", _AMOUNT)
    listed: Any = api.get("invoices").json()
    ids = {
        issued["lago_id"]: _INVOICE,
        issued["number"]: _NUMBER,
        customer["customer"]["lago_id"]: _CUSTOMER,
        '"external_id": "template"': f'"external_id": "{_CUSTOMER}"',
    }
    return _anonymous(issued, ids), _anonymous(listed["invoices"][0], ids)


def _anonymous(invoice: dict[str, Any], ids: dict[str, str]) -> str:
    text = json.dumps(invoice)
    for old, new in ids.items():
        text = text.replace(old, new)
    return text
