"""The contract suites: the fakes keep them, and a plugin that breaks a rule is seen to fail them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from billhook.clock import VirtualClock
from billhook.config import ConnectionConfig
from billhook.errors import NotFound, OutcomeUnknown, PayloadInvalid, SignatureInvalid, Temporary
from billhook.events import CustomerObserved, Event, InvoiceVoided, PaymentSucceeded, Refetch
from billhook.hookspecs import ConnectionContext
from billhook.model import Customer, Ref
from billhook.money import Money
from billhook.provider import (
    BillingEngine,
    Collected,
    CollectRequest,
    CollectState,
    CreditNoteRequest,
    Delivery,
    PaymentProvider,
    PaymentRecord,
    Recorded,
    RefundRequest,
    SupportsCheckoutStatus,
    SupportsCreditNotes,
    SupportsRefunds,
    WebhookRequest,
    WebhookSource,
)
from billhook.testing.connection import START
from billhook.testing.contracts import (
    BillingEngineContract,
    PaymentProviderContract,
    Sample,
    WebhookSourceContract,
)
from billhook.testing.fakes import (
    FakeEngine,
    FakeProvider,
    FakeSource,
    MemoryState,
    make_collect_request,
    make_context,
    make_customer,
)
from billhook.testing.sandbox import FaultKind
from billhook.testing.wire import Wire, WireCall

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

FAILS = (AssertionError, pytest.fail.Exception)
"""How a suite says no."""

PAID = PaymentSucceeded(
    at=START, ref=Ref("fakepay", "pay_1"), amount=Money(4900, "EUR"), applied=Money(4900, "EUR")
)
WRITER = FakeSource()
SAMPLES = (
    Sample(name="paid", body=WRITER.body(PAID), expect=("payment.succeeded",)),
    Sample(
        name="two and a thin one",
        body=WRITER.body(
            PAID, InvoiceVoided(ref=Ref("fakepay", "inv_1")), Refetch(kind="payment", id="pay_2")
        ),
        expect=("payment.succeeded", "invoice.voided", "refetch"),
    ),
)
UNKNOWN = b'{"events": [{"type": "payment.invented", "at": null}]}'


class NoSettings(ConnectionConfig):
    pass


def requests() -> Callable[[int, str], CollectRequest]:
    numbers = count(1)
    return lambda amount, currency: make_collect_request(amount, currency, invoice=str(next(numbers)))


def refund_of(provider: FakeProvider, request: CollectRequest) -> RefundRequest:
    provider.collect(request)
    paid = provider.pay(request)
    return RefundRequest(
        key=f"refund-{request.key}",
        payment=paid.ref,
        amount=request.amount,
        whole=True,
        reason=None,
        metadata={},
        since=START,
    )


# --- the fakes keep the contract -----------------------------------------------------------------------------------


class TestFakeSource(WebhookSourceContract):
    signature_header = "webhook-signature"

    @pytest.fixture
    def source(self) -> WebhookSource:
        return FakeSource()

    @pytest.fixture
    def signed(self) -> Callable[[bytes, datetime], WebhookRequest]:
        return WRITER.signed

    @pytest.fixture
    def samples(self) -> Sequence[Sample]:
        return SAMPLES

    @pytest.fixture
    def unknown_body(self) -> bytes:
        return UNKNOWN


class TestFakeProvider(PaymentProviderContract):
    @pytest.fixture
    def provider(self, virtual_clock: VirtualClock) -> PaymentProvider:
        return FakeProvider(clock=virtual_clock)

    @pytest.fixture
    def request_for(self) -> Callable[[int, str], CollectRequest]:
        return requests()

    @pytest.fixture
    def calls(self, provider: FakeProvider) -> Sequence[WireCall]:
        return provider.calls

    @pytest.fixture
    def fail_next(self, provider: FakeProvider) -> Callable[[FaultKind], None]:
        return provider.fail_next

    @pytest.fixture
    def refused_request(self) -> CollectRequest:
        return make_collect_request(100, "KWD", invoice="far")

    @pytest.fixture
    def refund_request(self, provider: FakeProvider) -> Callable[[], RefundRequest]:
        return lambda: refund_of(provider, make_collect_request(4900, "EUR", invoice="paid"))


@pytest.mark.parametrize("outcome", [CollectState.SUCCEEDED, CollectState.PROCESSING, CollectState.DECLINED])
class TestFakeProviderThatEndsAtOnce(TestFakeProvider):
    @pytest.fixture
    def provider(self, outcome: CollectState, virtual_clock: VirtualClock) -> PaymentProvider:
        provider = FakeProvider(clock=virtual_clock)
        provider.outcome = outcome
        return provider


class TestFakeEngine(BillingEngineContract):
    @pytest.fixture
    def engine(self, virtual_clock: VirtualClock) -> BillingEngine:
        return FakeEngine(clock=virtual_clock)

    @pytest.fixture
    def open_invoice(self, engine: FakeEngine) -> Callable[[], Ref]:
        return lambda: engine.bill("acme", Money(self.amount, self.currency))

    @pytest.fixture
    def paid_total(self, engine: FakeEngine) -> Callable[[Ref], int]:
        return engine.paid

    @pytest.fixture
    def fail_next(self, engine: FakeEngine) -> Callable[[FaultKind], None]:
        return engine.fail_next

    @pytest.fixture
    def clashing_customer(self, engine: FakeEngine) -> Customer:
        engine.upsert_customer(make_customer("first"))
        return replace(make_customer("second"), email="first@example.com")

    @pytest.fixture
    def credited_total(self, engine: FakeEngine) -> Callable[[Ref], int]:
        return engine.credited

    @pytest.fixture
    def asked_refund(self, engine: FakeEngine, open_invoice: Callable[[], Ref]) -> Callable[[], Ref]:
        return lambda: engine.ask_refund(open_invoice(), Money(100, "EUR"))


def test_the_fakes_claim_what_they_can(virtual_clock: VirtualClock) -> None:
    provider, engine = FakeProvider(clock=virtual_clock), FakeEngine(clock=virtual_clock)
    assert isinstance(provider, SupportsRefunds)
    assert isinstance(provider, SupportsCheckoutStatus)
    assert isinstance(engine, SupportsCreditNotes)


def test_a_fake_source_finds_again_what_it_was_given(virtual_clock: VirtualClock) -> None:
    source = FakeSource()
    source.things["payment", "pay_1"] = [PAID]
    assert source.refetch(Refetch(kind="payment", id="pay_1")) == [PAID]
    with pytest.raises(NotFound):
        source.refetch(Refetch(kind="payment", id="pay_2"))


def test_what_the_customer_does_at_a_fake_provider_comes_back_as_facts(virtual_clock: VirtualClock) -> None:
    provider, request = FakeProvider(clock=virtual_clock), make_collect_request(4900, "EUR", invoice="1")
    session = provider.collect(request).session
    declined = provider.decline(request)
    assert (declined.session, declined.metadata["billhook_key"]) == (session, "acme-inv-1")
    assert session is not None
    assert provider.checkout_usable(session)
    paid = provider.pay(request)
    assert (paid.at, paid.amount) == (virtual_clock.now(), Money(4900, "EUR"))
    assert not provider.checkout_usable(session)
    back = replace(refund_of(provider, request), amount=Money(900, "EUR"))
    ref = provider.refund(back)
    assert (provider.settle_refund(back).ref, provider.settle_refund(back).amount) == (ref, Money(900, "EUR"))


# --- a plugin that breaks a rule is found out ----------------------------------------------------------------------


class TakesAnySignature(FakeSource):
    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        return Delivery(key=request.headers.get("webhook-id", "none"))


class CrashesOnOddHeaders(FakeSource):
    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        int(request.headers["webhook-timestamp"])
        return super().verify(request, now=now)


class SignsOnlyTheBeginning(FakeSource):
    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        return super().verify(replace(request, body=request.body[:-1] + SAMPLES[0].body[-1:]), now=now)


class NeverForgets(FakeSource):
    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        sent = int(request.headers.get("webhook-timestamp") or 0)
        return super().verify(request, now=datetime.fromtimestamp(sent, UTC))


class NewKeyEachTime(FakeSource):
    numbers = count()

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        return replace(super().verify(request, now=now), key=str(next(self.numbers)))


class ParsesDifferently(FakeSource):
    heard = 0

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        self.heard += 1
        return [*super().parse(body)][: self.heard % 2 or None]


class TrustsItsBodies(FakeSource):
    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        import json

        return super().parse(body) if json.loads(body)["events"] else []


class ChokesOnTheUnknown(FakeSource):
    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        if b"invented" in body or b"tomorrow" in body:
            raise PayloadInvalid("never seen that")
        return super().parse(body)


class SpeaksForOthers(FakeSource):
    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        super().parse(body)
        return [CustomerObserved(ref=Ref("another", "cus_1"), customer_id="acme")]


class CountsInFloats(FakeSource):
    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        return [CustomerObserved(ref=Ref("fakepay", "cus_1"), customer_id=1.5)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        (TakesAnySignature(), "test_a_body_that_was_changed_is_refused"),
        (TakesAnySignature(), "test_a_signature_that_was_changed_is_refused"),
        (TakesAnySignature(), "test_a_signature_of_another_body_is_refused"),
        (TakesAnySignature(), "test_a_request_without_signature_is_refused"),
        (TakesAnySignature(), "test_a_request_that_is_too_old_or_from_the_future_is_refused"),
        (SignsOnlyTheBeginning(), "test_a_body_that_was_changed_is_refused"),
        (NeverForgets(), "test_a_request_that_is_too_old_or_from_the_future_is_refused"),
        (NewKeyEachTime(), "test_a_right_signature_gives_the_same_delivery_every_time"),
        (ParsesDifferently(), "test_every_sample_means_what_is_expected_each_time"),
        (TrustsItsBodies(), "test_a_field_that_is_missing_or_of_another_kind_is_no_crash"),
        (CountsInFloats(), "test_facts_are_our_own_and_well_formed"),
        (SpeaksForOthers(), "test_facts_are_our_own_and_well_formed"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_source_that_breaks_a_rule_fails_it(source: FakeSource, rule: str) -> None:
    suite = TestFakeSource()
    given: dict[str, Any] = {
        "source": source,
        "signed": WRITER.signed,
        "samples": SAMPLES,
        "unknown_body": UNKNOWN,
    }
    with pytest.raises(FAILS):
        _run(suite, rule, given)


def test_a_source_that_crashes_on_headers_is_found_out() -> None:
    source = CrashesOnOddHeaders()
    with pytest.raises(KeyError):
        TestFakeSource().test_a_request_without_signature_is_refused(source, WRITER.signed, SAMPLES)


def test_a_source_that_chokes_on_what_is_new_is_found_out() -> None:
    with pytest.raises(PayloadInvalid):
        TestFakeSource().test_an_unknown_type_means_nothing(ChokesOnTheUnknown(), UNKNOWN)
    with pytest.raises(PayloadInvalid):
        TestFakeSource().test_unknown_fields_do_not_matter(ChokesOnTheUnknown(), SAMPLES)


@pytest.mark.parametrize("body", [b"[1]", b"[" * 100_000], ids=["array", "deep"])
def test_a_source_that_crashes_on_hostile_bodies_is_found_out(body: bytes) -> None:
    with pytest.raises((TypeError, RecursionError)):
        TestFakeSource().test_a_body_that_is_no_event_is_invalid(TrustsItsBodies(), body)


class RepeatsItsWrites(FakeProvider):
    def collect(self, request: CollectRequest) -> Collected:
        super().collect(request)
        return super().collect(request)


class RetriesByItself(FakeProvider):
    def collect(self, request: CollectRequest) -> Collected:
        try:
            return super().collect(request)
        except (Temporary, OutcomeUnknown):
            return super().collect(request)


class ForgetsTheKey(FakeProvider):
    def collect(self, request: CollectRequest) -> Collected:
        found = super().collect(request)
        self.calls[-1] = replace(self.calls[-1], headers={})
        return found


class FindsNothing(FakeProvider):
    def find_collected(self, request: CollectRequest) -> Collected | None:
        return None


class FindsByCollecting(FakeProvider):
    def find_collected(self, request: CollectRequest) -> Collected | None:
        return self.collect(request)


class ForgetsTheUrl(FakeProvider):
    def collect(self, request: CollectRequest) -> Collected:
        return replace(super().collect(request), url=None)


class RefundsTwice(FakeProvider):
    def refund(self, request: RefundRequest) -> Ref:
        half = replace(request, amount=Money(request.amount.minor // 2, request.amount.currency))
        super().refund(half)
        return super().refund(half)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (RepeatsItsWrites, "test_collect_moves_money_once_under_our_key"),
        (ForgetsTheKey, "test_collect_moves_money_once_under_our_key"),
        (ForgetsTheUrl, "test_collect_moves_money_once_under_our_key"),
        (RetriesByItself, "test_a_lost_answer_is_an_unknown_outcome_that_a_look_settles"),
        (RetriesByItself, "test_being_turned_away_is_temporary_and_left_to_the_host"),
        (RetriesByItself, "test_a_crash_at_the_provider_is_not_taken_for_an_answer"),
        (FindsNothing, "test_what_was_collected_is_found_again"),
        (FindsNothing, "test_a_lost_answer_is_an_unknown_outcome_that_a_look_settles"),
        (FindsByCollecting, "test_nothing_is_found_before_it_was_collected"),
        (FindsByCollecting, "test_what_was_collected_is_found_again"),
        (RefundsTwice, "test_money_is_given_back_once_under_our_key"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_provider_that_breaks_a_rule_fails_it(
    broken: type[FakeProvider], rule: str, virtual_clock: VirtualClock
) -> None:
    provider = broken(clock=virtual_clock)
    given: dict[str, Any] = {
        "provider": provider,
        "request_for": requests(),
        "calls": provider.calls,
        "fail_next": provider.fail_next,
        "kind": FaultKind.RATE_LIMITED,
        "refund_request": lambda: refund_of(provider, make_collect_request(4900, "EUR", invoice="paid")),
    }
    with pytest.raises(FAILS):
        _run(TestFakeProvider(), rule, given)


class NeverLooks(FakeEngine):
    def record_payment(self, record: PaymentRecord) -> Recorded:
        return super().record_payment(replace(record, look_first=False))

    def issue_credit_note(self, request: CreditNoteRequest) -> Recorded:
        return super().issue_credit_note(replace(request, look_first=False))


class LooksByAmount(FakeEngine):
    def issue_credit_note(self, request: CreditNoteRequest) -> Recorded:
        if request.look_first and self.credited(request.invoice) == request.amount.minor:
            return Recorded()
        return super().issue_credit_note(request)


class OnlyLooks(FakeEngine):
    def record_payment(self, record: PaymentRecord) -> Recorded:
        return Recorded() if record.look_first else super().record_payment(record)


class NewCustomerEachTime(FakeEngine):
    numbers = count()

    def upsert_customer(self, customer: Customer) -> Ref:
        return Ref(self.connection, str(next(self.numbers)))


class TellsNothing(FakeEngine):
    def record_failure(self, invoice: Ref) -> Recorded:
        return Recorded()


class SwallowsTrouble(FakeEngine):
    def record_payment(self, record: PaymentRecord) -> Recorded:
        try:
            return super().record_payment(record)
        except (Temporary, OutcomeUnknown):
            return Recorded()


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (NeverLooks, "test_looking_first_does_not_enter_a_payment_twice"),
        (NeverLooks, "test_a_lost_answer_is_settled_by_looking_first"),
        (NeverLooks, "test_looking_first_does_not_document_a_refund_twice"),
        (LooksByAmount, "test_two_refunds_are_two_credit_notes"),
        (OnlyLooks, "test_looking_first_enters_what_is_not_there"),
        (NewCustomerEachTime, "test_a_customer_told_again_or_changed_is_the_same_customer"),
        (NewCustomerEachTime, "test_a_clash_names_the_field_to_correct"),
        (TellsNothing, "test_a_failure_told_twice_is_one"),
        (SwallowsTrouble, "test_a_lost_answer_is_settled_by_looking_first"),
        (SwallowsTrouble, "test_being_turned_away_is_temporary_and_enters_nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_an_engine_that_breaks_a_rule_fails_it(
    broken: type[FakeEngine], rule: str, virtual_clock: VirtualClock
) -> None:
    engine = broken(clock=virtual_clock)
    given: dict[str, Any] = {
        "engine": engine,
        "open_invoice": lambda: engine.bill("acme", Money(10_000, "EUR")),
        "paid_total": engine.paid,
        "credited_total": engine.credited,
        "fail_next": engine.fail_next,
        "kind": FaultKind.UNAVAILABLE,
        "clashing_customer": make_customer(),
    }
    with pytest.raises(FAILS):
        _run(TestFakeEngine(), rule, given)


def _run(suite: object, rule: str, given: dict[str, Any]) -> None:
    test = getattr(suite, rule)
    wanted = test.__code__.co_varnames[: test.__code__.co_argcount + test.__code__.co_kwonlyargcount]
    test(**{name: value for name, value in given.items() if name in wanted})


def test_a_fixture_that_was_not_filled_in_says_so(virtual_clock: VirtualClock) -> None:
    for suite, fixture in (
        (WebhookSourceContract, "source"),
        (PaymentProviderContract, "wire"),
        (BillingEngineContract, "open_invoice"),
    ):
        with pytest.raises(NotImplementedError, match=f"`{fixture}`"):
            getattr(suite, fixture).__wrapped__(suite())


# --- the kit -------------------------------------------------------------------------------------------------------


def ok_app(done: list[str]) -> Callable[[WSGIEnvironment, StartResponse], list[bytes]]:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        done.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {body.decode()}".strip())
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"ok": true}']

    return app


def client_of(context: ConnectionContext, url: str = "https://api.example.com/v1") -> Any:
    return context.http(name="acme", base_url=url, headers={"X-Token": "t"}, secrets=[])


def test_a_wire_keeps_what_went_over_it() -> None:
    done: list[str] = []
    wire = Wire(ok_app(done))
    client = client_of(make_context("acme", NoSettings(), apps={"https://api.example.com": wire}))
    client.get("things")
    client.post("pay", json={"key": "k-1"}, idempotency_key="k-2", moves_money=True)
    assert done == ["GET /v1/things", 'POST /v1/pay {"key":"k-1"}']
    read, write = wire.calls
    assert (read.method, read.path, read.money) == ("GET", "/v1/things", False)
    assert (write.money, write.headers["x-token"], write.headers["idempotency-key"]) == (True, "t", "k-2")
    assert (write.carries("k-1"), write.carries("k-2"), write.carries("k-3")) == (True, True, False)


@pytest.mark.parametrize(
    ("kind", "error", "happened"),
    [
        (FaultKind.LOST_ANSWER, OutcomeUnknown, True),
        (FaultKind.ERROR, OutcomeUnknown, False),
        (FaultKind.UNAVAILABLE, Temporary, False),
        (FaultKind.RATE_LIMITED, Temporary, False),
    ],
)
def test_a_wire_plays_a_fault_on_the_next_call_that_moves_money(
    kind: FaultKind, error: type[Exception], *, happened: bool
) -> None:
    done: list[str] = []
    wire = Wire(ok_app(done))
    client = client_of(make_context("acme", NoSettings(), apps={"https://api.example.com": wire}))
    wire.fail_next(kind)
    assert client.get("things").ok
    with pytest.raises(error):
        client.post("pay", moves_money=True)
    assert ("POST /v1/pay" in done) == happened
    assert client.post("pay", moves_money=True).ok


def test_a_slow_answer_cannot_be_played_on_a_wire() -> None:
    with pytest.raises(ValueError, match="slow cannot be played"):
        Wire(ok_app([])).fail_next(FaultKind.SLOW)


def test_a_call_to_anywhere_else_fails_the_test() -> None:
    context = make_context("acme", NoSettings(), apps={"https://api.example.com": ok_app([])})
    with pytest.raises(AssertionError, match="other.example.com"):
        client_of(context, "https://other.example.com").get("x")


def test_memory_keeps_the_first_value(memory_state: MemoryState) -> None:
    assert memory_state.get("product") is None
    assert memory_state.put("product", "pdt_1") == "pdt_1"
    assert memory_state.put("product", "pdt_2") == "pdt_1"
    assert memory_state.get("product") == "pdt_1"


def test_the_virtual_clock_stands_until_it_is_moved(virtual_clock: VirtualClock) -> None:
    assert virtual_clock.now() == virtual_clock.now() == START
    assert virtual_clock.advance(timedelta(days=1)) == START + timedelta(days=1)


def test_loading_the_pytest_plugin_costs_next_to_nothing() -> None:
    code = (
        "import sys, billhook.testing.plugin;"
        "print([m for m in ('pydantic', 'httpx', 'hypothesis', 'werkzeug', 'pluggy._x') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_signature_over_other_secrets_is_refused() -> None:
    stranger = FakeSource(secret="whsec_" + "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXI=")
    with pytest.raises(SignatureInvalid):
        FakeSource().verify(stranger.signed(SAMPLES[0].body, START), now=START)
