"""The registry: which plugins are in, why the others are out, and that a broken one costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pluggy
import pytest

from billhook.access import Access, Account, Decision, parse_facts, parse_policy
from billhook.clock import VirtualClock
from billhook.config import ConnectionConfig
from billhook.effects import CollectInvoice, Effect, RecordFailure
from billhook.events import Event, InvoiceVoided
from billhook.hookspecs import API_VERSION, ConnectionContext, hookimpl
from billhook.model import Ref, Snapshot
from billhook.plugins import (
    BuiltinPolicies,
    Installed,
    PluginState,
    PluginStatus,
    Registry,
    installed_plugins,
    load_plugins,
)
from billhook.policy import PolicyContext, RulesPolicy
from billhook.testing.fakes import FakeEngine, FakeProvider, make_context

FACT = InvoiceVoided(at=datetime(2026, 8, 1, tzinfo=UTC), ref=Ref("lago", "inv_1"))
COLLECT = CollectInvoice(invoice=FACT.ref)


class Settings(ConnectionConfig):
    pass


def context(name: str = "one") -> ConnectionContext:
    return make_context(name, Settings())


def plugin(**hooks: Any) -> ModuleType:
    """A plugin module of these hook functions."""
    marked = {name: hookimpl(hook) if callable(hook) else hook for name, hook in hooks.items()}
    module = ModuleType("a_plugin")
    vars(module).update({"BILLHOOK_API": ">=1.0,<2", **marked})
    return module


def installed(name: str, module: object, distribution: str | None = None) -> Installed:
    return Installed(
        name=name, load=lambda: module, distribution=distribution or f"billhook-{name}", version="1.2"
    )


def failing(error: BaseException) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


def provider_plugin() -> ModuleType:
    def payment_providers(context: ConnectionContext) -> Iterable[object]:
        return [FakeProvider(context.name, clock=context.clock)]

    return plugin(payment_providers=payment_providers)


def status(registry: Registry, name: str) -> PluginStatus:
    state = registry.state(name)
    assert state is not None
    return state.status


def reason(registry: Registry, name: str) -> str:
    state = registry.state(name)
    assert state is not None
    return state.reason or ""


def test_a_wanted_plugin_is_loaded_with_its_origin() -> None:
    registry = load_plugins({"good"}, installed=[installed("good", plugin())])
    assert registry.states() == (
        PluginState(name="good", status=PluginStatus.ENABLED, distribution="billhook-good", version="1.2"),
    )


@pytest.mark.parametrize("error", [ImportError("no module named nope"), RuntimeError("boom"), SystemExit(3)])
def test_a_plugin_whose_import_fails_is_out_alone(error: BaseException) -> None:
    broken = Installed(name="broken", load=failing(error))
    registry = load_plugins({"broken", "good"}, installed=[broken, installed("good", provider_plugin())])
    assert status(registry, "broken") is PluginStatus.ERROR
    assert reason(registry, "broken") == f"{type(error).__name__}: {error}"
    assert len(registry.payment_providers("good", context())) == 1


def test_a_plugin_for_another_contract_is_incompatible() -> None:
    registry = load_plugins({"old"}, installed=[installed("old", plugin(BILLHOOK_API=">=2"))])
    assert status(registry, "old") is PluginStatus.INCOMPATIBLE
    assert ">=2" in reason(registry, "old")
    assert API_VERSION in reason(registry, "old")


def test_a_plugin_that_names_no_contract_is_told_what_to_add() -> None:
    registry = load_plugins({"mute"}, installed=[installed("mute", SimpleNamespace())])
    assert status(registry, "mute") is PluginStatus.INCOMPATIBLE
    assert 'BILLHOOK_API = ">=1.0,<2"' in reason(registry, "mute")


def test_a_contract_that_is_no_range_is_told_how_to_write_one() -> None:
    registry = load_plugins({"odd"}, installed=[installed("odd", plugin(BILLHOOK_API="one"))])
    assert status(registry, "odd") is PluginStatus.INCOMPATIBLE
    assert "'one' is no version range" in reason(registry, "odd")


def test_a_misspelt_hook_puts_its_plugin_out_alone() -> None:
    def payment_provider(context: ConnectionContext) -> list[object]:
        return []

    odd = installed("odd", plugin(payment_provider=payment_provider))
    registry = load_plugins({"odd", "good"}, installed=[odd, installed("good", provider_plugin())])
    assert status(registry, "odd") is PluginStatus.ERROR
    assert "payment_provider" in reason(registry, "odd")
    assert status(registry, "good") is PluginStatus.ENABLED


def test_a_hook_with_an_argument_nobody_gives_puts_its_plugin_out() -> None:
    def payment_providers(context: ConnectionContext, mood: str) -> list[object]:
        return []

    registry = load_plugins(
        {"odd"}, installed=[installed("odd", plugin(payment_providers=payment_providers))]
    )
    assert status(registry, "odd") is PluginStatus.ERROR
    assert "mood" in reason(registry, "odd")


def test_a_plugin_object_that_cannot_be_hashed_is_out_alone() -> None:
    odd = installed("odd", SimpleNamespace(BILLHOOK_API=">=1.0,<2"))
    registry = load_plugins({"odd", "good"}, installed=[odd, installed("good", provider_plugin())])
    assert status(registry, "odd") is PluginStatus.ERROR
    assert len(registry.payment_providers("good", context())) == 1


def test_an_installed_plugin_nobody_asked_for_is_not_imported() -> None:
    registry = load_plugins(
        set(), installed=[Installed(name="spare", load=failing(AssertionError("imported")))]
    )
    assert status(registry, "spare") is PluginStatus.AVAILABLE


def test_a_denied_plugin_is_not_imported() -> None:
    evil = Installed(name="evil", load=failing(AssertionError("imported")))
    registry = load_plugins({"evil"}, denied={"evil"}, installed=[evil])
    assert status(registry, "evil") is PluginStatus.DENIED


def test_a_wanted_plugin_that_is_not_installed_is_told_how_to_install_it() -> None:
    registry = load_plugins({"paddle"}, installed=[])
    assert status(registry, "paddle") is PluginStatus.MISSING
    assert "pip install billhook-paddle" in reason(registry, "paddle")


def test_two_distributions_with_one_name_are_both_out() -> None:
    twins = [
        installed("twin", provider_plugin(), distribution) for distribution in ("acme-twin", "billhook-twin")
    ]
    registry = load_plugins({"twin"}, installed=twins)
    assert status(registry, "twin") is PluginStatus.ERROR
    assert "acme-twin and billhook-twin" in reason(registry, "twin")
    assert registry.payment_providers("twin", context()) == ()


def test_what_is_installed_is_listed_without_importing_it() -> None:
    names = [each.name for each in installed_plugins()]
    assert names == sorted(names)


# --- objects -------------------------------------------------------------------------------------------------------


def test_objects_are_made_by_the_connections_plugin_only() -> None:
    registry = load_plugins(
        {"a", "b"}, installed=[installed("a", provider_plugin()), installed("b", provider_plugin())]
    )
    made = registry.payment_providers("a", context("eu"))
    assert [each.connection for each in made] == ["eu"]
    assert registry.billing_engines("a", context()) == ()
    assert registry.webhook_sources("a", context()) == ()


def test_two_connections_of_one_plugin_have_objects_of_their_own() -> None:
    registry = load_plugins({"a"}, installed=[installed("a", provider_plugin())])
    (one,), (two,) = (registry.payment_providers("a", context(name)) for name in ("one", "two"))
    assert one is not two
    assert (one.connection, two.connection) == ("one", "two")


def test_an_object_of_the_wrong_kind_is_a_type_error_that_names_both() -> None:
    def payment_providers(context: ConnectionContext) -> list[object]:
        return [FakeEngine(context.name, clock=context.clock)]

    registry = load_plugins(
        {"mixed"}, installed=[installed("mixed", plugin(payment_providers=payment_providers))]
    )
    with pytest.raises(TypeError, match="payment_providers of plugin mixed gave FakeEngine"):
        registry.payment_providers("mixed", context())


def test_a_plugin_that_was_put_out_makes_nothing() -> None:
    registry = load_plugins({"a"}, installed=[installed("a", provider_plugin())])
    registry.quarantine("a", "it hung")
    assert registry.payment_providers("a", context()) == ()
    assert (status(registry, "a"), reason(registry, "a")) == (PluginStatus.ERROR, "it hung")
    state = registry.state("a")
    assert state is not None
    assert state.distribution == "billhook-a"


def test_the_settings_class_is_that_of_the_plugin() -> None:
    with_settings, without = plugin(connection_config=lambda: Settings), plugin()
    registry = load_plugins({"a", "b"}, installed=[installed("a", with_settings), installed("b", without)])
    assert registry.config_class("a") is Settings
    assert registry.config_class("b") is None


def test_the_sandbox_is_that_of_the_plugin() -> None:
    def sandbox(clock: object, webhook_url: str | None, settings: object) -> object:
        return ("sandbox of a", webhook_url)

    registry = load_plugins(
        {"a", "b"}, installed=[installed("a", plugin(sandbox=sandbox)), installed("b", plugin())]
    )
    arguments = {"clock": VirtualClock(datetime(2026, 8, 1, tzinfo=UTC)), "webhook_url": None, "settings": {}}
    assert registry.sandbox_factory("a")(**arguments) == ("sandbox of a", None)
    assert registry.sandbox_factory("b")(**arguments) is None


def test_settings_of_another_plugin_are_a_type_error() -> None:
    class Other(ConnectionConfig):
        pass

    with pytest.raises(TypeError, match="connection one has Settings, not Other"):
        context().config(Other)


# --- effects -------------------------------------------------------------------------------------------------------


def effects_plugin(plan: Callable[[Event, Snapshot], Any]) -> ModuleType:
    def effects_for(event: Event, snapshot: Snapshot) -> Any:
        return plan(event, snapshot)

    return plugin(effects_for=effects_for)


def raising(event: Event, snapshot: Snapshot) -> list[Effect]:
    raise RuntimeError("boom")


def test_every_plugin_is_asked_for_effects() -> None:
    record = RecordFailure(invoice=FACT.ref, payment=Ref("dodo", "pay_1"))
    one, two = effects_plugin(lambda *_: [COLLECT]), effects_plugin(lambda *_: iter([record]))
    registry = load_plugins({"one", "two"}, installed=[installed("one", one), installed("two", two)])
    assert set(registry.effects_for(FACT, Snapshot())) == {COLLECT, record}


def test_a_plugin_that_raises_is_put_out_and_the_others_are_still_asked() -> None:
    broken, good = effects_plugin(raising), effects_plugin(lambda *_: [COLLECT])
    registry = load_plugins(
        {"broken", "good"}, installed=[installed("broken", broken), installed("good", good)]
    )
    assert registry.effects_for(FACT, Snapshot()) == (COLLECT,)
    assert status(registry, "broken") is PluginStatus.ERROR
    assert reason(registry, "broken") == "effects_for raised RuntimeError: boom"
    assert registry.effects_for(FACT, Snapshot()) == (COLLECT,)


def test_a_plugin_that_fails_half_way_plans_nothing() -> None:
    def half(event: Event, snapshot: Snapshot) -> Iterable[Effect]:
        yield COLLECT
        raise RuntimeError("boom")

    registry = load_plugins({"half"}, installed=[installed("half", effects_plugin(half))])
    assert registry.effects_for(FACT, Snapshot()) == ()
    assert status(registry, "half") is PluginStatus.ERROR


def test_what_is_no_effect_puts_its_plugin_out() -> None:
    registry = load_plugins({"odd"}, installed=[installed("odd", effects_plugin(lambda *_: ["collect"]))])
    assert registry.effects_for(FACT, Snapshot()) == ()
    assert "gave str, which is no effect" in reason(registry, "odd")


def test_a_plugin_may_plan_nothing_by_returning_nothing() -> None:
    registry = load_plugins({"idle"}, installed=[installed("idle", effects_plugin(lambda *_: None))])
    assert registry.effects_for(FACT, Snapshot()) == ()
    assert status(registry, "idle") is PluginStatus.ENABLED


def test_a_hook_gets_the_arguments_it_names_in_its_own_order() -> None:
    seen: list[object] = []

    def swapped(snapshot: Snapshot, event: Event) -> list[Effect]:
        seen.append((event, snapshot))
        return []

    def only_event(event: Event) -> list[Effect]:
        seen.append(event)
        return []

    modules = {"swapped": plugin(effects_for=swapped), "only": plugin(effects_for=only_event)}
    registry = load_plugins(set(modules), installed=[installed(name, each) for name, each in modules.items()])
    registry.effects_for(FACT, Snapshot())
    assert (FACT, Snapshot()) in seen
    assert FACT in seen


def test_an_essential_plugin_that_raises_fails_the_fact_and_stays() -> None:
    registry = Registry()
    registry.register(effects_plugin(raising), "host", essential=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="boom"):
            registry.effects_for(FACT, Snapshot())
    assert status(registry, "host") is PluginStatus.ENABLED


def test_a_registered_object_with_a_misspelt_hook_is_refused() -> None:
    with pytest.raises(pluggy.PluginValidationError, match="effect_for"):
        Registry().register(plugin(effect_for=lambda: None), "host")


class Generous:
    """A policy of somebody else's: everybody may."""

    def __init__(self, name: str) -> None:
        self.name = name

    def decide(self, account: Account, at: datetime, payers: Mapping[str, Account]) -> Decision:
        return Decision(customer=account.id, at=at, standing="clear", state="active", access=Access.FULL)


def policies_plugin(*names: str) -> ModuleType:
    def access_policies(context: PolicyContext) -> Iterable[object]:
        return [Generous(name) for name in names]

    return plugin(access_policies=access_policies)


def test_the_built_in_rules_are_an_access_policy_like_any_other() -> None:
    suspended = parse_policy({"rules": [{"state": "out", "when": {"has_tag": "out"}, "access": "none"}]})
    registry = Registry()
    registry.register(BuiltinPolicies(), "builtin", essential=True)
    registry.register(policies_plugin("generous"), "kind")
    tagged = parse_facts([{"type": "customer.tagged", "at": "2012-05-01T00:00:00Z", "tag": "out"}])

    policies = registry.access_policies(PolicyContext(document=lambda: suspended))

    account = Account(id="A", facts=tagged)
    answers = {name: each.decide(account, FACT.at, {}).access for name, each in policies.items() if FACT.at}
    assert answers == {"rules": "none", "generous": "full"}


def test_a_plugin_that_takes_the_name_of_a_policy_is_put_out() -> None:
    registry = Registry()
    registry.register(policies_plugin("rules"), "a-thief")
    registry.register(BuiltinPolicies(), "builtin", essential=True)

    policies = registry.access_policies(PolicyContext(document=lambda: parse_policy({})))

    assert [type(each) for each in policies.values()] == [RulesPolicy]
    state = registry.state("a-thief")
    assert state is not None
    assert state.status is PluginStatus.ERROR
    assert "'rules' is taken" in (state.reason or "")


def test_a_plugin_whose_policies_are_none_costs_only_itself() -> None:
    registry = Registry()
    registry.register(plugin(access_policies=lambda context: ["nonsense"]), "odd")
    registry.register(policies_plugin("generous"), "kind")

    policies = registry.access_policies(PolicyContext(document=lambda: parse_policy({})))

    assert list(policies) == ["generous"]
    assert registry.state("odd") == PluginState(
        name="odd",
        status=PluginStatus.ERROR,
        reason="access_policies raised TypeError: access_policies of plugin odd gave str, which is no AccessPolicy",
    )
