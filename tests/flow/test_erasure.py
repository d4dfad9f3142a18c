"""A person is forgotten everywhere; what was billed and paid is not, and old deliveries bring nothing back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import inspect, text

from billhook.errors import NotFound
from billhook.model import PaymentStatus
from billhook.provider import Delivery
from billhook.testing.sandbox import Fault, FaultKind
from billhook_web.stores import audit, inbox
from tests.flow.flow import Flow
from tests.flow.tape import Tape
from tests.flow.test_collecting import only_checkout
from tests.flow.test_rebuild import made_anew

WHO: dict[str, Any] = {
    "name": "Zoë Quillfeather",
    "email": "zoe@quillfeather.example",
    "tax_id": "ATU99887766",
    "address": {
        "line1": "Kirschblütenweg 7",
        "line2": "Hinterhaus",
        "city": "Bregenz",
        "postal_code": "A-6900",
        "country": "AT",
    },
}
PERSONAL = ("quillfeather", "zo\\u00eb", "zoë", "atu99887766", "kirschbl", "hinterhaus", "bregenz", "a-6900")
REASON = "Zoë changed her mind"


def found_in(flow: Flow) -> list[str]:
    """Look for the person in every column of every table."""
    tables = inspect(flow.runtime.db.engine).get_table_names()
    with flow.runtime.db.read() as tx:
        return [
            f"{table}.{column}: {word}"
            for table in tables
            for row in tx.execute(text(f"SELECT * FROM {table}"))
            for column, value in row._mapping.items()
            for word in PERSONAL
            if word in _text(value).lower()
        ]


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else str(value)


def money(flow: Flow) -> dict[str, Any]:
    """Return what the books say, without the words people wrote."""
    paid = [
        (each["ref"], each["status"], each["amount"], each["refunded"])
        for each in flow.api("GET", "/payments")["data"]
    ]
    owed = [
        (each["ref"], each["status"], each["payment_status"], each["total"], each["balance"])
        for each in flow.api("GET", "/invoices")["data"]
    ]
    return {
        "payments": paid,
        "invoices": owed,
        "effects": sorted((row.key, row.status) for row in flow.effects()),
    }


@pytest.fixture
def told(flow: Flow) -> Tape:
    """A customer who paid at the second try, got something back, and told why."""
    tape = Tape(flow).record()
    flow.api("PUT", "/customers/acct_1", currency="EUR", **WHO)
    flow.api(
        "PUT", "/customers/acct_2", name="Bystander Ltd", email="office@bystander.example", currency="EUR"
    )
    flow.settle()
    flow.lago.issue_invoice("acct_1", 12000)
    flow.settle()
    flow.dodo.decline(only_checkout(flow)["session_id"])
    flow.settle()
    flow.skip(timedelta(days=3))
    payment = flow.dodo.pay(flow.dodo.checkouts[1]["session_id"])
    flow.settle()
    flow.dodo.refund(payment["payment_id"], 2000)
    flow.settle()
    with flow.runtime.db.begin() as tx:
        detail = {"said": REASON, "email": WHO["email"]}
        audit.add(tx, at=flow.clock.now(), actor="cli:x", action="note", subject="x", detail=detail)
        dead = Delivery(key="dead")
        body = b'{"customer": {"external_id": "acct_1", "email": "zoe@quillfeather.example"}'
        inbox.add(tx, connection="lago", delivery=dead, body=body, now=flow.clock.now())
    flow.settle()
    assert found_in(flow)
    return tape


def test_a_person_is_forgotten_and_the_books_are_not(flow: Flow, told: Tape) -> None:
    before = money(flow)
    erased = flow.api("DELETE", "/customers/acct_1/personal-data")
    assert found_in(flow) == []
    assert (erased["customer"], erased["unread"], erased["audit"]) == ("acct_1", 1, 1)
    assert erased["facts"] > 0
    assert money(flow) == before
    assert made_anew(flow, check=True).differences == ()
    customer = flow.api("GET", "/customers/acct_1")
    assert (customer["name"], customer["email"], customer["currency"]) == (None, None, "EUR")
    assert customer["erased_at"] is not None
    assert customer["provider_ids"] != {}
    assert flow.api("GET", "/customers/acct_2")["name"] == "Bystander Ltd"
    (entry,) = flow.api("GET", "/audit?action=customer.erase")["data"]
    assert entry["subject"] == "acct_1"


def test_old_deliveries_bring_nothing_back(flow: Flow, told: Tape) -> None:
    flow.api("DELETE", "/customers/acct_1/personal-data")
    before = money(flow)
    assert told.repeat() == 0
    told.repeat_under_new_keys()
    assert found_in(flow) == []
    assert money(flow) == before
    assert made_anew(flow, check=True).differences == ()
    assert made_anew(flow, check=False).differences == ()
    assert found_in(flow) == []


def test_what_was_pruned_before_is_erased_too(flow: Flow, told: Tape) -> None:
    flow.clock.advance(timedelta(days=91))
    while flow.runtime.retention.prune_some().total:
        pass
    assert found_in(flow)
    flow.api("DELETE", "/customers/acct_1/personal-data")
    assert found_in(flow) == []
    assert made_anew(flow, check=True).differences == ()


def test_a_later_update_of_the_engine_brings_nothing_back_until_the_customer_is_registered_again(
    flow: Flow, told: Tape
) -> None:
    flow.api("DELETE", "/customers/acct_1/personal-data")
    pushed = len(flow.effects("sync_customer"))
    customer = {"external_id": "acct_1", "name": "Zoë Quillfeather-Marsh"}
    assert flow.lago_client().post("customers", json={"customer": customer}).ok
    flow.lago.issue_invoice("acct_1", 700)
    flow.settle()
    assert found_in(flow) == []
    assert flow.dodo.checkouts[-1]["session_id"] != flow.dodo.checkouts[-2]["session_id"]
    assert len(flow.effects("sync_customer")) == pushed
    assert made_anew(flow, check=True).differences == ()
    flow.api("PUT", "/customers/acct_1", name="Quillfeather GmbH", email="office@quillfeather.example")
    flow.settle()
    again = flow.api("GET", "/customers/acct_1")
    assert (again["name"], again["erased_at"]) == ("Quillfeather GmbH", None)
    assert made_anew(flow, check=True).differences == ()


def test_an_effect_that_waits_pushes_no_blanks(flow: Flow) -> None:
    flow.lago.faults.add(Fault(kind=FaultKind.UNAVAILABLE, path="customers"))
    flow.api("PUT", "/customers/acct_1", **WHO)
    flow.settle()
    (waiting,) = flow.effects("sync_customer")
    assert waiting.status == "pending"
    flow.api("DELETE", "/customers/acct_1/personal-data")
    flow.lago.faults.clear()
    flow.skip(timedelta(hours=2))
    (closed,) = flow.effects("sync_customer")
    assert (closed.status, closed.note) == ("superseded", "The customer's personal data was erased.")
    assert flow.lago.customers == []
    assert found_in(flow) == []


def test_erasing_again_is_harmless_and_an_unknown_customer_is_refused(flow: Flow, told: Tape) -> None:
    flow.api("DELETE", "/customers/acct_1/personal-data")
    assert flow.api("DELETE", "/customers/acct_1/personal-data")["facts"] == 0
    assert made_anew(flow, check=True).differences == ()
    with pytest.raises(NotFound):
        flow.runtime.erasure.erase("nobody", note=lambda _tx: None)
    assert flow.invoice(flow.lago.invoices[0]["lago_id"]).payment_status is PaymentStatus.SUCCEEDED
