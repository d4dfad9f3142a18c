"""What every billing engine must do: keep its books once, however often it is told, and say how things stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from billhook.errors import Conflict, NotFound, OutcomeUnknown, Temporary
from billhook.events import Event, InvoiceObserved
from billhook.model import Customer, PaymentStatus, Plan, Ref
from billhook.money import Money
from billhook.provider import (
    BillingEngine,
    CreditNoteRequest,
    PaymentRecord,
    ProviderInfo,
    Recorded,
    SupportsCreditNotes,
    SupportsDefaultMethod,
    SupportsInvoicePdf,
    SupportsPlans,
    SupportsSubscriptions,
)
from billhook.testing.connection import START, make_customer
from billhook.testing.contracts.facts import check_storable
from billhook.testing.sandbox import FaultKind
from billhook.testing.wire import Wire

Reads = Callable[[Ref], int]
FailNext = Callable[[FaultKind], None]


class BillingEngineContract:
    """The suite. Fill in ``engine``, ``open_invoice``, ``paid_total``, and ``wire`` (or, without one, ``fail_next``).

    An engine with credit notes fills in ``credited_total`` and ``asked_refund``. ``amount`` (minor units of
    ``currency``) is what ``open_invoice`` is due.
    """

    amount: int = 10_000
    currency: str = "EUR"

    @pytest.fixture
    def engine(self) -> BillingEngine:
        """The engine, its calls answered by ``wire``: ``make_context(name, settings, apps={url: wire})``."""
        raise NotImplementedError("fill in the fixture `engine`")

    @pytest.fixture
    def open_invoice(self) -> Callable[[], Ref]:
        """Has the engine write a finalised invoice, ``amount`` due and nothing paid, and returns its ref."""
        raise NotImplementedError("fill in the fixture `open_invoice`")

    @pytest.fixture
    def paid_total(self) -> Reads:
        """What the engine's books say was paid of an invoice, in minor units: ask the sandbox, not the engine."""
        raise NotImplementedError("fill in the fixture `paid_total`")

    @pytest.fixture
    def wire(self) -> Wire:
        """``Wire(sandbox.wsgi)``: the engine's sandbox, recorded. Make ``engine`` use the same one."""
        raise NotImplementedError("fill in the fixture `wire`, or `fail_next`")

    @pytest.fixture
    def fail_next(self, wire: Wire) -> FailNext:
        """Let the next call that writes go wrong."""
        return wire.fail_next

    @pytest.fixture
    def clashing_customer(self) -> Customer | None:
        """A customer with a value that the engine cannot take beside what it has; None when there is no such thing."""
        return None

    @pytest.fixture
    def credited_total(self, engine: BillingEngine) -> Reads:
        """What the engine's credit notes give back of an invoice, in minor units: ask the sandbox."""
        _with_notes(engine)
        raise NotImplementedError("an engine that SupportsCreditNotes fills in the fixture `credited_total`")

    @pytest.fixture
    def asked_refund(self, engine: BillingEngine) -> Callable[[], Ref]:
        """Has the engine write a credit note that asks for money to be given back, and returns its ref."""
        _with_notes(engine)
        raise NotImplementedError("an engine that SupportsCreditNotes fills in the fixture `asked_refund`")

    # --- customers and invoices --------------------------------------------------------------------------------

    def test_the_engine_keeps_the_protocol(self, engine: BillingEngine) -> None:
        """It has the operations and says who it is."""
        assert isinstance(engine, BillingEngine)
        assert engine.connection
        assert isinstance(engine.info, ProviderInfo)

    def test_a_customer_told_again_or_changed_is_the_same_customer(self, engine: BillingEngine) -> None:
        """Repeating is harmless."""
        customer = make_customer("contract-1", currency=self.currency)
        ref = engine.upsert_customer(customer)
        assert ref.connection == engine.connection
        assert engine.upsert_customer(customer) == ref
        assert engine.upsert_customer(replace(customer, name="Renamed AG")) == ref

    def test_a_clash_names_the_field_to_correct(
        self, engine: BillingEngine, clashing_customer: Customer | None
    ) -> None:
        """Somebody must know what to change."""
        if clashing_customer is None:
            pytest.skip("nothing clashes here")
        with pytest.raises(Conflict) as caught:
            engine.upsert_customer(clashing_customer)
        assert caught.value.field, "name the field"
        assert str(caught.value)

    def test_an_invoice_is_told_as_facts(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref]
    ) -> None:
        """How it stands, under the connection's name, fit to be stored."""
        invoice = open_invoice()
        facts = engine.fetch_invoice(invoice)
        for fact in facts:
            check_storable(fact, connection=engine.connection, where="fetch_invoice")
        seen = _seen(facts, invoice)
        assert (seen.due, seen.currency) == (self.amount, self.currency)
        assert seen.payment_status is not PaymentStatus.SUCCEEDED

    def test_an_unknown_invoice_is_not_found(self, engine: BillingEngine) -> None:
        """Rather than an empty answer."""
        with pytest.raises(NotFound):
            engine.fetch_invoice(Ref(engine.connection, "00000000-0000-4000-8000-000000000000"))

    # --- payments ----------------------------------------------------------------------------------------------

    def test_a_payment_is_entered_and_shows(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref], paid_total: Reads
    ) -> None:
        """In the books and in what the engine says."""
        invoice = open_invoice()
        assert isinstance(engine.record_payment(self._record(invoice)), Recorded)
        assert paid_total(invoice) == self.amount
        assert _seen(engine.fetch_invoice(invoice), invoice).payment_status is PaymentStatus.SUCCEEDED

    def test_looking_first_does_not_enter_a_payment_twice(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref], paid_total: Reads
    ) -> None:
        """A part, so that the engine would have room for it again."""
        invoice = open_invoice()
        half = Money(self.amount // 2, self.currency)
        engine.record_payment(replace(self._record(invoice), amount=half))
        entered = paid_total(invoice)
        engine.record_payment(replace(self._record(invoice), amount=half, look_first=True))
        assert paid_total(invoice) == entered

    def test_looking_first_enters_what_is_not_there(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref], paid_total: Reads
    ) -> None:
        """The earlier call may not have gone through."""
        invoice = open_invoice()
        engine.record_payment(replace(self._record(invoice), look_first=True))
        assert paid_total(invoice) == self.amount

    def test_a_lost_answer_is_settled_by_looking_first(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref], paid_total: Reads, fail_next: FailNext
    ) -> None:
        """It was entered, and is not entered again."""
        invoice = open_invoice()
        half = replace(self._record(invoice), amount=Money(self.amount // 2, self.currency))
        fail_next(FaultKind.LOST_ANSWER)
        with pytest.raises(OutcomeUnknown):
            engine.record_payment(half)
        entered = paid_total(invoice)
        assert entered > 0
        engine.record_payment(replace(half, look_first=True))
        assert paid_total(invoice) == entered

    @pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.RATE_LIMITED])
    def test_being_turned_away_is_temporary_and_enters_nothing(
        self,
        engine: BillingEngine,
        open_invoice: Callable[[], Ref],
        paid_total: Reads,
        fail_next: FailNext,
        kind: FaultKind,
    ) -> None:
        """The host tries again later."""
        invoice = open_invoice()
        fail_next(kind)
        with pytest.raises(Temporary):
            engine.record_payment(self._record(invoice))
        assert paid_total(invoice) == 0

    def test_a_failure_told_twice_is_one(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref], paid_total: Reads
    ) -> None:
        """It shows, and takes nothing from what is due."""
        invoice = open_invoice()
        for _ in range(2):
            assert isinstance(engine.record_failure(invoice), Recorded)
        assert _seen(engine.fetch_invoice(invoice), invoice).payment_status is PaymentStatus.FAILED
        assert paid_total(invoice) == 0
        engine.record_payment(self._record(invoice))
        assert paid_total(invoice) == self.amount

    # --- what else it claims -----------------------------------------------------------------------------------

    def test_looking_first_does_not_document_a_refund_twice(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref], credited_total: Reads
    ) -> None:
        """One credit note per refund."""
        notes = _with_notes(engine)
        request = self._refunded(engine, open_invoice())
        notes.issue_credit_note(request)
        issued = credited_total(request.invoice)
        assert issued == request.amount.minor
        notes.issue_credit_note(replace(request, look_first=True))
        assert credited_total(request.invoice) == issued

    def test_two_refunds_are_two_credit_notes(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref], credited_total: Reads
    ) -> None:
        """Even of the same amount, and when looking first."""
        notes = _with_notes(engine)
        request = self._refunded(engine, open_invoice())
        notes.issue_credit_note(request)
        other = replace(request, refund=Ref("pay", "refund_contract_2"), look_first=True)
        notes.issue_credit_note(other)
        assert credited_total(request.invoice) == 2 * request.amount.minor

    @pytest.mark.parametrize("succeeded", [True, False])
    def test_closing_a_refund_twice_is_harmless(
        self, engine: BillingEngine, asked_refund: Callable[[], Ref], *, succeeded: bool
    ) -> None:
        """Whichever way it ended."""
        notes = _with_notes(engine)
        note = asked_refund()
        for _ in range(2):
            assert isinstance(notes.close_refund(note, succeeded=succeeded), Recorded)

    def test_plans_are_listed(self, engine: BillingEngine) -> None:
        """With an amount and a code to subscribe by."""
        if not isinstance(engine, SupportsPlans):
            pytest.skip("SupportsPlans is not claimed")
        for plan in engine.plans():
            assert isinstance(plan, Plan)
            assert plan.code

    def test_subscribing_twice_is_one_subscription(self, engine: BillingEngine) -> None:
        """And it is listed."""
        if not isinstance(engine, SupportsSubscriptions) or not isinstance(engine, SupportsPlans):
            pytest.skip("SupportsSubscriptions and SupportsPlans are not both claimed")
        engine.upsert_customer(make_customer("contract-2", currency=self.currency))
        plan = next(plan for plan in engine.plans() if plan.amount.currency == self.currency)
        first, again = (
            engine.subscribe(customer_id="contract-2", plan=plan.code, external_id="contract-2-main")
            for _ in range(2)
        )
        assert first.ref == again.ref
        assert [each.ref for each in engine.subscriptions("contract-2")] == [first.ref]

    def test_an_invoice_has_a_pdf_or_gets_one_later(
        self, engine: BillingEngine, open_invoice: Callable[[], Ref]
    ) -> None:
        """None: ask again later."""
        if not isinstance(engine, SupportsInvoicePdf):
            pytest.skip("SupportsInvoicePdf is not claimed")
        document = engine.invoice_pdf(open_invoice())
        assert document is None or document.startswith(b"%PDF")

    def test_a_method_that_the_engine_does_not_keep_changes_nothing(self, engine: BillingEngine) -> None:
        """Nor for a customer it does not know: customers choose methods long before every engine has heard of them."""
        if not isinstance(engine, SupportsDefaultMethod):
            pytest.skip("SupportsDefaultMethod is not claimed")
        engine.upsert_customer(make_customer("contract-3", currency=self.currency))
        for customer in ("contract-3", "contract-nobody"):
            assert engine.choose_method(customer, Ref("pay", "pm_contract_1")) is False

    # --- what is told ------------------------------------------------------------------------------------------

    def _record(self, invoice: Ref) -> PaymentRecord:
        return PaymentRecord(
            invoice=invoice,
            reference="pay_contract_1",
            amount=Money(self.amount, self.currency),
            paid_at=START + timedelta(minutes=5),
            look_first=False,
        )

    def _refunded(self, engine: BillingEngine, invoice: Ref) -> CreditNoteRequest:
        engine.record_payment(self._record(invoice))
        return CreditNoteRequest(
            invoice=invoice,
            refund=Ref("pay", "refund_contract_1"),
            amount=Money(self.amount // 4, self.currency),
            reason="contract",
            look_first=False,
        )


def _with_notes(engine: BillingEngine) -> SupportsCreditNotes:
    if not isinstance(engine, SupportsCreditNotes):
        pytest.skip("SupportsCreditNotes is not claimed")
    return engine


def _seen(facts: Sequence[Event], invoice: Ref) -> InvoiceObserved:
    seen = [fact for fact in facts if isinstance(fact, InvoiceObserved) and fact.ref == invoice]
    assert len(seen) == 1, "say once how the invoice stands (InvoiceObserved)"
    return seen[0]
