"""Choosing the default among the payment methods that an integration of Lago's own keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lago_python_client.client import Client

from billhook.errors import Temporary
from billhook.hookspecs import ConnectionContext
from billhook.model import Ref
from billhook.provider import SupportsDefaultMethod
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.provider import LagoEngine, lago_engine
from billhook_lago.sandbox import LagoSandbox

NEW = Ref("stripe", "pm_2")


@pytest.fixture
def engine(connect: Callable[..., ConnectionContext], story: Any, sandbox: LagoSandbox) -> LagoEngine:
    for method in ("pm_1", "pm_2"):
        sandbox.keep_method("acct_1", method)
    return lago_engine(connect())


def puts(sandbox: LagoSandbox) -> int:
    return len([request for request in sandbox.requests if request.method == "PUT"])


def test_the_method_that_lago_keeps_becomes_its_default_and_a_repetition_asks_for_nothing(
    engine: LagoEngine, sandbox: LagoSandbox
) -> None:
    assert isinstance(engine, SupportsDefaultMethod)
    assert sandbox.default_method("acct_1") == "pm_1"
    assert [engine.choose_method("acct_1", NEW) for _ in range(2)] == [True, True]
    assert (sandbox.default_method("acct_1"), puts(sandbox)) == ("pm_2", 1)


@pytest.mark.parametrize(("customer", "method"), [("acct_1", "pm_3"), ("acct_9", "pm_2")])
def test_what_lago_does_not_keep_changes_nothing(
    engine: LagoEngine, sandbox: LagoSandbox, customer: str, method: str
) -> None:
    assert engine.choose_method(customer, Ref("stripe", method)) is False
    assert (sandbox.default_method("acct_1"), puts(sandbox)) == ("pm_1", 0)


def test_a_lago_that_is_down_is_asked_again_later(engine: LagoEngine, sandbox: LagoSandbox) -> None:
    sandbox.faults.add(Fault(kind=FaultKind.UNAVAILABLE, path="/payment_methods"))
    with pytest.raises(Temporary):
        engine.choose_method("acct_1", NEW)
    assert engine.choose_method("acct_1", NEW)


def test_the_official_client_chooses_and_reads_the_answer(
    engine: LagoEngine, sandbox: LagoSandbox, base_url: str
) -> None:
    lago = Client(
        api_key="lago-sandbox-key", api_url=base_url
    )  # its list sends no key: it cannot be the judge of that
    customer = sandbox.world.ledger.customer("acct_1")
    assert customer is not None
    chosen = lago.customer_payment_methods.set_as_default("acct_1", customer.payment_methods[1]["lago_id"])
    assert (chosen.provider_method_id, chosen.is_default) == ("pm_2", True)
    assert sandbox.default_method("acct_1") == "pm_2"
