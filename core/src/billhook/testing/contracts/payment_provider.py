"""What every payment provider must do: never ask for money twice, and be able to tell afterwards whether it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import pytest

from billhook.errors import OutcomeUnknown, Refused, Temporary
from billhook.provider import (
    Collected,
    CollectRequest,
    CollectState,
    Finding,
    MandateRequest,
    PaymentProvider,
    ProviderInfo,
    RefundRequest,
    SupportsCheck,
    SupportsCheckoutStatus,
    SupportsMandates,
    SupportsRefunds,
)
from billhook.testing.connection import make_customer
from billhook.testing.contracts.money_calls import NOTHING_DONE, money_calls
from billhook.testing.sandbox import FaultKind
from billhook.testing.wire import Wire, WireCall

RequestFor = Callable[[int, str], CollectRequest]
FailNext = Callable[[FaultKind], None]


class PaymentProviderContract:
    """The suite. Fill in ``provider``, ``request_for``, and ``wire`` (or, without one, ``calls`` and ``fail_next``).

    A provider that gives money back fills in ``refund_request``. ``amount`` (minor units) and ``currency`` are what
    is collected.
    """

    amount: int = 4_900
    currency: str = "EUR"

    @pytest.fixture
    def provider(self) -> PaymentProvider:
        """The provider, its calls answered by ``wire``: ``make_context(name, settings, apps={url: wire})``."""
        raise NotImplementedError("fill in the fixture `provider`")

    @pytest.fixture
    def request_for(self) -> RequestFor:
        """``request_for(amount, currency)``: a new request, with another key each time (``make_collect_request``)."""
        raise NotImplementedError("fill in the fixture `request_for`")

    @pytest.fixture
    def wire(self) -> Wire:
        """``Wire(sandbox.wsgi)``: the provider's sandbox, recorded. Make ``provider`` use the same one."""
        raise NotImplementedError("fill in the fixture `wire`, or `calls` and `fail_next`")

    @pytest.fixture
    def calls(self, wire: Wire) -> Sequence[WireCall]:
        """What went over the wire so far, growing; ``money`` marks what could move money."""
        return wire.calls

    @pytest.fixture
    def fail_next(self, wire: Wire) -> FailNext:
        """Let the next call that could move money go wrong."""
        return wire.fail_next

    @pytest.fixture
    def refused_request(self) -> CollectRequest | None:
        """A request that cannot be collected here (amount, currency); None when there is no such thing."""
        return None

    @pytest.fixture
    def refund_request(self, provider: PaymentProvider) -> Callable[[], RefundRequest]:
        """Makes a payment of the customer's (``amount``) and returns the request to give all of it back."""
        _refunding(provider)
        raise NotImplementedError("a provider that SupportsRefunds fills in the fixture `refund_request`")

    # --- collect -----------------------------------------------------------------------------------------------

    def test_the_provider_keeps_the_protocol(self, provider: PaymentProvider) -> None:
        """It has the operations and says who it is."""
        assert isinstance(provider, PaymentProvider)
        assert provider.connection
        assert isinstance(provider.info, ProviderInfo)

    def test_collect_moves_money_once_under_our_key(
        self, provider: PaymentProvider, request_for: RequestFor, calls: Sequence[WireCall]
    ) -> None:
        """At most one write, and it carries the key that makes it findable."""
        request = request_for(self.amount, self.currency)
        collected = provider.collect(request)
        _check_answer(collected, provider)
        sent = money_calls(calls)
        assert len(sent) == 1, (
            f"one write that can move money, not {[f'{call.method} {call.path}' for call in sent]}"
        )
        assert sent[0].carries(request.key), "our key is neither a header nor in the body"

    def test_nothing_is_found_before_it_was_collected(
        self, provider: PaymentProvider, request_for: RequestFor, calls: Sequence[WireCall]
    ) -> None:
        """And looking moves no money."""
        assert provider.find_collected(request_for(self.amount, self.currency)) is None
        assert money_calls(calls) == []

    def test_what_was_collected_is_found_again(
        self, provider: PaymentProvider, request_for: RequestFor, calls: Sequence[WireCall]
    ) -> None:
        """By its key, and only by its own."""
        request, other = request_for(self.amount, self.currency), request_for(self.amount, self.currency)
        collected = provider.collect(request)
        found = provider.find_collected(request)
        assert found is not None
        assert (found.session, found.payment) == (collected.session, collected.payment)
        _check_answer(found, provider)
        assert provider.find_collected(other) is None
        assert len(money_calls(calls)) == 1, "looking must not move money"

    def test_a_lost_answer_is_an_unknown_outcome_that_a_look_settles(
        self,
        provider: PaymentProvider,
        request_for: RequestFor,
        calls: Sequence[WireCall],
        fail_next: FailNext,
    ) -> None:
        """The money may have moved: nothing is repeated, and the look finds it."""
        request = request_for(self.amount, self.currency)
        fail_next(FaultKind.LOST_ANSWER)
        with pytest.raises(OutcomeUnknown):
            provider.collect(request)
        found = provider.find_collected(request)
        assert found is not None, "the call was carried out, the look must find it"
        _check_answer(found, provider)
        assert len(money_calls(calls)) == 1, "the write was repeated"

    @pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.RATE_LIMITED])
    def test_being_turned_away_is_temporary_and_left_to_the_host(
        self,
        provider: PaymentProvider,
        request_for: RequestFor,
        calls: Sequence[WireCall],
        fail_next: FailNext,
        kind: FaultKind,
    ) -> None:
        """Nothing happened: the host tries again later, with the same key, and that works."""
        request = request_for(self.amount, self.currency)
        fail_next(kind)
        with pytest.raises(Temporary):
            provider.collect(request)
        assert len(money_calls(calls)) == 1, "trying again is for the host to decide"
        assert provider.find_collected(request) is None
        _check_answer(provider.collect(request), provider)

    def test_a_crash_at_the_provider_is_not_taken_for_an_answer(
        self,
        provider: PaymentProvider,
        request_for: RequestFor,
        calls: Sequence[WireCall],
        fail_next: FailNext,
    ) -> None:
        """500: nobody knows; here nothing happened, and the look says so."""
        request = request_for(self.amount, self.currency)
        fail_next(FaultKind.ERROR)
        with pytest.raises(NOTHING_DONE):
            provider.collect(request)
        assert provider.find_collected(request) is None
        assert len(money_calls(calls)) == 1

    def test_what_cannot_be_collected_is_refused_in_words(
        self, provider: PaymentProvider, refused_request: CollectRequest | None
    ) -> None:
        """An operator reads the message."""
        if refused_request is None:
            pytest.skip("nothing is refused here")
        with pytest.raises(Refused, match=r"\w+ \w+"):
            provider.collect(refused_request)
        assert provider.find_collected(refused_request) is None

    # --- what else it claims -----------------------------------------------------------------------------------

    def test_a_checkout_can_be_used_until_it_is_over(
        self, provider: PaymentProvider, request_for: RequestFor
    ) -> None:
        """A new one can; one that never was cannot."""
        if not isinstance(provider, SupportsCheckoutStatus):
            pytest.skip("SupportsCheckoutStatus is not claimed")
        collected = provider.collect(request_for(self.amount, self.currency))
        if collected.state is CollectState.OPEN:
            assert collected.session is not None
            assert provider.checkout_usable(collected.session) is True
        assert provider.checkout_usable("session_that_never_was") is False

    def test_money_is_given_back_once_under_our_key(
        self,
        provider: PaymentProvider,
        refund_request: Callable[[], RefundRequest],
        calls: Sequence[WireCall],
    ) -> None:
        """And found again."""
        refunds = _refunding(provider)
        request = refund_request()
        before = len(money_calls(calls))
        assert refunds.find_refund(request) is None
        ref = refunds.refund(request)
        assert ref.connection == provider.connection
        assert refunds.find_refund(request) == ref
        sent = money_calls(calls)[before:]
        assert len(sent) == 1
        assert sent[0].carries(request.key), "our key is neither a header nor in the body"

    @pytest.mark.parametrize("kind", [FaultKind.LOST_ANSWER, FaultKind.UNAVAILABLE, FaultKind.RATE_LIMITED])
    def test_a_refund_whose_answer_does_not_come_is_settled_by_a_look(
        self,
        provider: PaymentProvider,
        refund_request: Callable[[], RefundRequest],
        calls: Sequence[WireCall],
        fail_next: FailNext,
        kind: FaultKind,
    ) -> None:
        """Unknown when it may have happened, temporary when it has not; never repeated."""
        refunds = _refunding(provider)
        request = refund_request()
        before = len(money_calls(calls))
        fail_next(kind)
        lost = kind is FaultKind.LOST_ANSWER
        with pytest.raises(OutcomeUnknown if lost else Temporary):
            refunds.refund(request)
        assert (refunds.find_refund(request) is not None) == lost
        assert len(money_calls(calls)) == before + 1, "the write was repeated"

    def test_a_mandate_is_asked_for_at_a_url(self, provider: PaymentProvider) -> None:
        """The customer is sent there."""
        if not isinstance(provider, SupportsMandates):
            pytest.skip("SupportsMandates is not claimed")
        request = MandateRequest(
            key="mandate-1",
            customer=make_customer(currency=self.currency),
            currency=self.currency,
            metadata={},
            return_url="https://billing.example.com/portal/",
        )
        assert urlsplit(provider.mandate_url(request)).scheme in ("http", "https")

    def test_the_set_up_can_be_looked_at(self, provider: PaymentProvider, calls: Sequence[WireCall]) -> None:
        """By harmless calls."""
        if not isinstance(provider, SupportsCheck):
            pytest.skip("SupportsCheck is not claimed")
        assert all(isinstance(finding, Finding) for finding in provider.check())
        assert money_calls(calls) == []


def _refunding(provider: PaymentProvider) -> SupportsRefunds:
    if not isinstance(provider, SupportsRefunds):
        pytest.skip("SupportsRefunds is not claimed")
    return provider


def _check_answer(collected: Collected, provider: PaymentProvider) -> None:
    assert isinstance(collected, Collected)
    assert collected.by, "say which rung of the ladder it was"
    if collected.payment is not None:
        assert collected.payment.connection == provider.connection
    match collected.state:
        case CollectState.OPEN:
            assert collected.session, "an open checkout has a session"
            assert urlsplit(collected.url or "").scheme in ("http", "https"), "an open checkout has a URL"
        case CollectState.DECLINED:
            assert collected.decline is not None, "say why it was declined"
        case CollectState.PROCESSING | CollectState.SUCCEEDED:
            assert collected.payment is not None or collected.session is not None, "name what to wait for"
