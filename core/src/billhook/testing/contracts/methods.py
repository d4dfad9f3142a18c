"""What a provider must do that lets customers keep payment methods: each reaches their own, and nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from billhook.errors import NotFound
from billhook.methods import (
    PageState,
    SetupRequest,
    SupportsMethodManagement,
    SupportsPageKit,
)
from billhook.model import Customer, Ref
from billhook.testing.connection import make_customer

Save = Callable[[str], None]

DIRECTIVES = frozenset(
    ("script-src", "frame-src", "connect-src", "img-src", "style-src", "font-src", "child-src", "form-action")
)


class MethodManagementContract:
    """The suite. Fill in ``provider`` and ``save``; ``currency`` is what set-ups are made for."""

    currency: str = "EUR"

    @pytest.fixture
    def provider(self) -> SupportsMethodManagement:
        """The provider, its calls answered by its sandbox."""
        raise NotImplementedError("fill in the fixture `provider`")

    @pytest.fixture
    def save(self) -> Save:
        """``save(setup_id)``: the customer completes that set-up in their browser, with the same card each time."""
        raise NotImplementedError("fill in the fixture `save`")

    @pytest.fixture
    def owner(self, provider: SupportsMethodManagement) -> str:
        """A customer as the provider knows them."""
        return provider.provider_customer(make_customer("acme", currency=self.currency))

    @pytest.fixture
    def stranger(self, provider: SupportsMethodManagement) -> str:
        """Another one."""
        return provider.provider_customer(make_customer("other", currency=self.currency))

    def test_the_provider_keeps_the_protocol(self, provider: SupportsMethodManagement) -> None:
        """It has the operations."""
        assert isinstance(provider, SupportsMethodManagement)

    def test_a_customer_is_made_once(self, provider: SupportsMethodManagement, owner: str) -> None:
        """Asked again, also with other details and with its own id there, it is the same one."""
        customer = make_customer("acme", currency=self.currency)
        assert provider.provider_customer(customer) == owner
        assert provider.provider_customer(Customer(id="acme", name="Renamed")) == owner
        linked = replace(customer, provider_ids={self._connection(provider): owner})
        assert provider.provider_customer(linked) == owner

    def test_customers_are_kept_apart(self, owner: str, stranger: str) -> None:
        """Another of ours is another there."""
        assert owner != stranger

    def test_a_set_up_opens_once_for_a_key_and_keeps_its_secret_out_of_texts(
        self, provider: SupportsMethodManagement, owner: str
    ) -> None:
        """A double click is one set-up."""
        request = SetupRequest(key="setup-1", provider_customer=owner, currency=self.currency)
        first, second = provider.begin_setup(request), provider.begin_setup(request)
        assert first.id == second.id
        assert first.state is PageState.OPEN
        assert first.client_secret
        assert first.client_secret not in repr(first)
        assert provider.saved_methods(owner) == []

    def test_what_was_saved_is_listed(
        self, provider: SupportsMethodManagement, owner: str, save: Save
    ) -> None:
        """And the set-up says which one it was, and opens to nobody any more."""
        method = self._saved(provider, owner, save, key="setup-1")
        (listed,) = provider.saved_methods(owner)
        assert listed.method.ref == method
        assert listed.method.reusable

    def test_the_default_comes_first_and_is_chosen_again_without_harm(
        self, provider: SupportsMethodManagement, owner: str, save: Save
    ) -> None:
        """There is one at most."""
        methods = [self._saved(provider, owner, save, key=f"setup-{number}") for number in (1, 2, 3)]
        for chosen in (*methods, methods[-1]):
            provider.set_default(owner, chosen)
            listed = provider.saved_methods(owner)
            assert [each.method.ref for each in listed if each.default] == [chosen]
            assert listed[0].method.ref == chosen

    def test_the_same_card_twice_is_told(
        self, provider: SupportsMethodManagement, owner: str, save: Save
    ) -> None:
        """So that a page can offer to keep one."""
        first = self._saved(provider, owner, save, key="setup-1")
        second = provider.begin_setup(SetupRequest(key="setup-2", provider_customer=owner))
        save(second.id)
        assert provider.setup(owner, second.id).saved_before == first

    def test_what_was_removed_is_gone_and_removed_again_without_harm(
        self, provider: SupportsMethodManagement, owner: str, save: Save
    ) -> None:
        """The others stay; a default that was removed is none."""
        first, second = (
            self._saved(provider, owner, save, key="setup-1"),
            self._saved(provider, owner, save, key="setup-2"),
        )
        provider.set_default(owner, first)
        provider.remove_method(owner, first)
        provider.remove_method(owner, first)
        assert [(each.method.ref, each.default) for each in provider.saved_methods(owner)] == [
            (second, False)
        ]

    def test_nobody_reaches_what_is_another_s(
        self, provider: SupportsMethodManagement, owner: str, stranger: str, save: Save
    ) -> None:
        """Not by choosing, not by removing, not by asking; and nothing changes by trying."""
        method = self._saved(provider, owner, save, key="setup-1")
        setup = provider.begin_setup(SetupRequest(key="setup-2", provider_customer=owner))
        before = provider.saved_methods(owner)
        for reach in (
            lambda: provider.set_default(stranger, method),
            lambda: provider.remove_method(stranger, method),
            lambda: provider.setup(stranger, setup.id),
        ):
            with pytest.raises(NotFound):
                reach()
        assert provider.saved_methods(owner) == before
        assert provider.saved_methods(stranger) == []

    def test_what_is_not_there_is_not_found(self, provider: SupportsMethodManagement, owner: str) -> None:
        """Whoever asks."""
        nothing = Ref(self._connection(provider), "never_was")
        for reach in (
            lambda: provider.set_default(owner, nothing),
            lambda: provider.setup(owner, "never_was"),
            lambda: provider.saved_methods("never_was"),
        ):
            with pytest.raises(NotFound):
                reach()

    def test_the_page_kit_can_be_loaded_under_a_strict_policy(
        self, provider: SupportsMethodManagement
    ) -> None:
        """Scripts come from where the policy lets them, and nothing secret is in it."""
        if not isinstance(provider, SupportsPageKit):
            pytest.skip("SupportsPageKit is not claimed")
        kit = provider.page_kit()
        assert "billhookPayments" in kit.adapter
        assert set(kit.sources) <= DIRECTIVES
        for url in kit.scripts:
            parts = urlsplit(url)
            assert f"{parts.scheme}://{parts.netloc}" in kit.sources["script-src"]
        for sources in kit.sources.values():
            assert not {"'unsafe-inline'", "'unsafe-eval'", "*"} & set(sources)

    def _saved(self, provider: SupportsMethodManagement, owner: str, save: Save, *, key: str) -> Ref:
        request = SetupRequest(key=key, provider_customer=owner, currency=self.currency)
        setup = provider.begin_setup(request)
        save(setup.id)
        done = provider.setup(owner, setup.id)
        assert done.state is PageState.SUCCEEDED
        assert done.client_secret is None
        assert done.method is not None
        assert done.method.method.ref is not None
        return done.method.method.ref

    def _connection(self, provider: SupportsMethodManagement) -> str:
        name = getattr(provider, "connection", "")
        assert isinstance(name, str)
        return name
