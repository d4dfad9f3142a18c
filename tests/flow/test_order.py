"""Any order and any repetition of the same deliveries end in the same ledger, projections and effects."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billhook.model import DeclineClass
from billhook.money import Money
from billhook.provider import WebhookRequest
from billhook_web.stores.tables import metadata
from tests.flow.flow import Backend, Flow


@dataclass
class Told:
    """A flow whose story was told once, with every webhook that was delivered on the way."""

    flow: Flow
    deliveries: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)

    def retell(self, order: Sequence[int]) -> dict[str, Any]:
        """Deliver to a host that knows nothing, in this order, and return its books."""
        runtime = self.flow.runtime
        with runtime.db.begin() as tx:
            for table in reversed(metadata.sorted_tables):
                tx.execute(table.delete())
        for index in order:
            connection, body, headers = self.deliveries[index]
            request = WebhookRequest(
                headers={name.lower(): value for name, value in headers.items()}, body=body
            )
            source = runtime.connections.source(connection)
            receipt = runtime.intake.receive(source, request, now=runtime.clock.now())
            if receipt.inbox_id is not None:
                runtime.processing.process(receipt.inbox_id)
        assert self.flow.dead() == []
        return self.flow.books()


WANTED = {
    "dodo": {"payment.failed", "payment.succeeded", "refund.succeeded"},
    "stripe": {
        "payment_intent.payment_failed", "payment_intent.canceled", "payment_intent.succeeded", "refund.created",
        "payment_method.attached",
    },
}  # fmt: skip
"""What the payment provider tells that the order could matter for."""


def tell(backend: Backend, payer: str = "dodo") -> Told:
    """A decline, a retry that is paid, a partial refund: deliveries that depend on each other."""
    flow = Flow(backend, payer=payer, settings={"BILLHOOK_RETRY_SCHEDULE": "PT5S"})
    told = Told(flow)
    plain = flow.post

    def recording(connection: str, body: bytes, headers: Mapping[str, str]) -> int:
        told.deliveries.append((connection, body, headers))
        return plain(connection, body, headers)

    flow.post = recording  # type: ignore[method-assign]  # a tape recorder between the sandboxes and the host
    with flow.working():
        flow.api("PUT", "/customers/acct_1", name="Acme & Sons", email="billing@acme.example")
        flow.settle()
        flow.lago.issue_invoice("acct_1", 12000)
        flow.settle()
        flow.till.decline(flow.till.checkouts()[0].id, DeclineClass.SOFT)
        flow.settle()
        flow.skip(timedelta(seconds=5))
        payment = flow.till.pay(flow.till.checkouts()[1].id)
        flow.settle()
        flow.till.refund(payment, Money(5000, "EUR"))
        flow.settle()
    told.deliveries = [each for each in told.deliveries if _matters(each[0], each[1], payer)]
    status = [each for each in told.deliveries if b"payment_status_updated" in each[1]]
    told.deliveries = [each for each in told.deliveries if each not in status[:-1]]
    assert len(told.deliveries) == 3 + len(WANTED[payer])
    return told


def _matters(connection: str, body: bytes, payer: str) -> bool:
    if connection == payer:
        return json.loads(body)["type"] in WANTED[payer]
    kind = json.loads(body)["webhook_type"]
    if kind == "invoice.payment_status_updated":
        return b'"payment_status":"succeeded"' in body
    return kind in ("customer.created", "invoice.created")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    path = Path(tmp_path_factory.mktemp("order")) / "order.sqlite3"
    story = tell(Backend("sqlite", f"sqlite:///{path}", None))
    yield story
    story.flow.runtime.close()


@pytest.mark.parametrize("first", range(6))
def test_every_permutation_of_six_deliveries_ends_the_same(told: Told, first: int) -> None:
    expected = told.retell(range(6))
    rest = [index for index in range(6) if index != first]
    for order in itertools.permutations(rest):
        assert told.retell([first, *order]) == expected, f"order {first, *order}"


@given(order=st.lists(st.integers(0, 5), max_size=14))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shuffle_with_repeats_ends_the_same(told: Told, order: list[int]) -> None:
    expected = told.retell(range(6))
    missing = [index for index in range(6) if index not in order]
    assert told.retell([*order, *missing]) == expected


def test_shuffles_end_the_same_on_a_server_database_too(backend: Backend) -> None:
    story = tell(backend)
    expected = story.retell(range(6))
    assert expected["facts"]
    assert {key.partition("/")[0] for key, _ in expected["effects"]} >= {
        "collect",
        "record",
        "record-failure",
        "credit",
    }
    for order in ([5, 4, 3, 2, 1, 0], [4, 4, 3, 0, 5, 1, 2, 2], [3, 5, 1, 0, 2, 4]):
        assert story.retell(order) == expected
    story.flow.runtime.close()


def test_shuffles_end_the_same_with_another_provider(tmp_path: Path) -> None:
    story = tell(Backend("sqlite", f"sqlite:///{tmp_path / 'order.sqlite3'}", None), payer="stripe")
    count = len(story.deliveries)
    expected = story.retell(range(count))
    assert {key.partition("/")[0] for key, _ in expected["effects"]} >= {"collect", "record", "credit"}
    for turned in range(count):
        backwards = [(turned - at) % count for at in range(count)]
        assert story.retell([*backwards, *backwards[:3]]) == expected, backwards
    story.flow.runtime.close()
