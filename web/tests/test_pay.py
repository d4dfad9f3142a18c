"""The pay page: what it shows in each state, where a click leads, and what it never lets out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from billhook.clock import VirtualClock, new_token
from billhook.errors import Temporary
from billhook.model import (
    Attempt,
    AttemptStatus,
    Decline,
    DeclineClass,
    Invoice,
    InvoiceStatus,
    Payment,
    PaymentStatus,
    Period,
    Ref,
)
from billhook.money import Money
from billhook.provider import Collected, CollectRequest
from billhook.testing.fakes import FakeEngine, FakeProvider
from billhook.testing.sandbox import FaultKind
from billhook_web.pages import install_pages
from billhook_web.pages.words import words_for
from billhook_web.pay import pay_blueprint
from billhook_web.portal import visitors
from billhook_web.runtime import build_runtime
from billhook_web.services.arranging import Arranging
from billhook_web.services.breaker import TOLERATED
from billhook_web.services.collecting import Collecting
from billhook_web.services.connections import Connection, Connections
from billhook_web.services.delivery import Delivery
from billhook_web.services.gates import Gates
from billhook_web.services.jobs import Jobs
from billhook_web.services.keepers import Keepers, at_once
from billhook_web.services.meters import Meters
from billhook_web.services.paying import Paying
from billhook_web.services.portal_letters import LetterWriter, Sender
from billhook_web.services.recording import Recorder
from billhook_web.settings import read_configuration
from billhook_web.stores import accounts, billing, outbox, tables
from billhook_web.stores.billing import Row

NOW = datetime(2026, 11, 21, 14, 3, tzinfo=UTC)
INVOICE = Invoice(
    ref=Ref("fakebill", "inv_secret_1"),
    customer_id="acct_1",
    number="INV-2026-0113",
    kind="subscription",
    status=InvoiceStatus.FINALIZED,
    currency="EUR",
    total=123450,
    taxes=0,
    due=123450,
    paid=0,
    balance=123450,
    payment_status=PaymentStatus.PENDING,
    engine_status=PaymentStatus.PENDING,
    issued_on=date(2026, 11, 1),
    due_on=date(2026, 12, 1),
    subscriptions=("sub_secret_1",),
    period=Period(start=datetime(2026, 11, 1, tzinfo=UTC), end=datetime(2026, 12, 1, tzinfo=UTC)),
    finalized_at=NOW,
)
PAYMENT = Payment(
    ref=Ref("fakepay", "pay_secret_1"),
    status=PaymentStatus.SUCCEEDED,
    amount=Money(123450, "EUR"),
    applied=Money(123450, "EUR"),
    at=NOW,
    invoice=INVOICE.ref,
)
SOFT = Decline(code="INSUFFICIENT", kind=DeclineClass.SOFT, message="Not enough money on the card.")
STOLEN = Decline(code="STOLEN", kind=DeclineClass.HARD, message="The card is stolen.", sensitive=True)
PAID = replace(INVOICE, paid=123450, balance=0, payment_status=PaymentStatus.SUCCEEDED)
FAILED = replace(INVOICE, payment_status=PaymentStatus.FAILED)


class SlowProvider(FakeProvider):
    """Opens a checkout only once it is let go on, so that two clicks overlap."""

    def __init__(self, *, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def collect(self, request: CollectRequest) -> Collected:
        self.asked.set()
        assert self.go_on.wait(10)
        return super().collect(request)


class Shop:
    """A host without background work, one billing engine, one payment provider, both in memory."""

    def __init__(self, folder: Path, *, provider: FakeProvider | None, clock: VirtualClock) -> None:
        env = {
            "BILLHOOK_DATABASE_URL": f"sqlite:///{folder / 'billhook.sqlite3'}",
            "BILLHOOK_PUBLIC_URL": "https://billing.example",
        }
        bare = build_runtime(read_configuration(env), clock=clock, installed=())
        self.clock, self.db, self.provider = clock, bare.db, provider
        tables.metadata.create_all(self.db.engine)
        self.engine = FakeEngine(clock=clock)
        paid_by = (
            () if provider is None else (Connection(name="fakepay", plugin="fakepay", provider=provider),)
        )
        connections = Connections(
            (Connection(name="fakebill", plugin="fakebill", engine=self.engine), *paid_by)
        )
        self.recorder = Recorder(connections, bare.registry)
        collecting = Collecting(
            clock=clock,
            connections=connections,
            recorder=self.recorder,
            public_url="https://billing.example",
            new_token=new_token,
        )
        keepers = Keepers(db=self.db, connections=connections, ask=at_once)
        jobs = Jobs(
            clock=clock,
            connections=connections,
            recorder=self.recorder,
            collecting=collecting,
            arranging=Arranging(db=self.db, clock=clock, connections=connections, keepers=keepers),
            letters=LetterWriter(
                clock=clock,
                connections=connections,
                new_token=new_token,
                sender=Sender(name="Acme", accent="#2f5bea", public_url="https://billing.example"),
            ),
        )
        gates = Gates(db=self.db, clock=clock, limit=4, redact=str)
        self.delivery = Delivery(
            db=self.db,
            clock=clock,
            jobs=jobs,
            redact=str,
            meters=Meters(),
            gates=gates,
            lease=timedelta(minutes=2),
        )
        paying = Paying(
            db=self.db, clock=clock, connections=connections, deliver=self.delivery.deliver, ask=gates.ask
        )
        self.runtime = replace(bare, paying=paying, connections=connections, collecting=collecting)
        self.app = Flask("billhook_web")
        install_pages(self.app, self.runtime)
        self.app.register_blueprint(pay_blueprint(self.runtime, visitors(self.runtime)))

    def get(self, path: str) -> TestResponse:
        return self.app.test_client().get(path)

    def post(self, path: str) -> TestResponse:
        return self.app.test_client().post(path)

    def link(self, invoice: Ref) -> str:
        with self.db.begin() as tx:
            return self.runtime.collecting.pay_url(tx, invoice).removeprefix("https://billing.example")

    def put(self, invoice: Invoice, *payments: Payment, attempt: AttemptStatus | None = None) -> str:
        """Store a state as the projections would; return its link."""
        with self.db.begin() as tx:
            billing.invoices.put(tx, invoice.ref, invoice, Row(customer_id=None, status="", at=NOW))
            for payment in payments:
                row = Row(customer_id=None, status="", at=payment.at, invoice=invoice.ref)
                billing.payments.put(tx, payment.ref, payment, row)
            if attempt is not None:
                billing.add_attempt(tx, an_attempt(invoice, attempt))
        return self.link(invoice.ref)

    def bill(self) -> str:
        """Let the engine write an invoice of EUR 120.00 and tell us; return its link."""
        ref = self.engine.bill("acct_1", Money(12000, "EUR"))
        with self.db.begin() as tx:
            self.recorder.apply(tx, self.engine.facts_of(ref), now=self.clock.now())
        return self.link(ref)

    def attempts(self) -> list[tuple[int, AttemptStatus]]:
        with self.db.read() as tx:
            ref = billing.invoices.all(tx)[0].ref
            return [(each.number, each.status) for each in billing.attempts_of(tx, ref)]


def an_attempt(invoice: Invoice, status: AttemptStatus) -> Attempt:
    return Attempt(
        key="key_secret_1",
        invoice=invoice.ref,
        number=1,
        connection="fakepay",
        status=status,
        amount=Money(invoice.due, invoice.currency),
        created_at=NOW,
        session="session_secret_1",
        url="https://pay.example.com/session_secret_1" if status is AttemptStatus.OPEN else None,
    )


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def provider(clock: VirtualClock) -> FakeProvider:
    return FakeProvider(clock=clock)


@pytest.fixture
def shop(tmp_path: Path, provider: FakeProvider, clock: VirtualClock) -> Iterator[Shop]:
    shop = Shop(tmp_path, provider=provider, clock=clock)
    yield shop
    shop.runtime.close()


# --- what it shows ---------------------------------------------------------------------------------------------------


def test_an_open_invoice_says_what_is_due_when_and_for_what(shop: Shop) -> None:
    answer = shop.get(shop.put(INVOICE))
    assert answer.status_code == 200
    for text in ("€1,234.50", "INV-2026-0113", "1 Dec 2026", "1–30 Nov 2026", "Subscription"):
        assert text in answer.text
    assert 'method="post" id="begin"' in answer.text
    assert "Past due" not in answer.text


def test_an_invoice_past_its_date_is_marked_overdue(shop: Shop) -> None:
    answer = shop.get(shop.put(replace(INVOICE, due_on=date(2026, 11, 20))))
    assert "Past due" in answer.text
    assert "Due since" in answer.text


def test_looking_begins_nothing(shop: Shop, provider: FakeProvider) -> None:
    link = shop.bill()
    with shop.db.read() as tx:
        before = outbox.counts(tx)
    for _ in range(3):
        assert shop.get(link).status_code == 200
        assert shop.app.test_client().head(link).status_code == 200
    with shop.db.read() as tx:
        assert outbox.counts(tx) == before
    assert (shop.attempts(), provider.calls) == ([], [])


@pytest.mark.parametrize(
    ("invoice", "title"),
    [
        (replace(INVOICE, payment_status=PaymentStatus.PROCESSING), "Your payment is on its way"),
        (PAID, "Paid, thank you"),
        (replace(INVOICE, status=InvoiceStatus.VOIDED, balance=0), "There is nothing to pay here"),
        (replace(INVOICE, status=InvoiceStatus.DRAFT), "Not to be paid yet"),
        (replace(PAID, due=0, paid=0), "There is nothing to pay"),
    ],
)
def test_an_invoice_that_cannot_be_paid_now_says_why_and_has_no_button(
    shop: Shop, invoice: Invoice, title: str
) -> None:
    text = shop.get(shop.put(invoice)).text
    assert f'<h1 id="result-h">{title}</h1>' in text
    assert "<form" not in text


def test_a_paid_invoice_gives_the_day_the_money_came(shop: Shop) -> None:
    text = shop.get(shop.put(PAID, PAYMENT)).text
    assert "We received €1,234.50 on 21 Nov 2026." in text


def test_a_decline_is_told_in_plain_words_with_a_way_out(shop: Shop) -> None:
    payment = replace(PAYMENT, status=PaymentStatus.FAILED, decline=SOFT)
    text = shop.get(shop.put(FAILED, payment)).text
    assert "The payment was declined" in text
    assert SOFT.message in text
    assert "Try again" in text
    assert "<form" in text


def test_a_sensitive_reason_is_not_told(shop: Shop) -> None:
    payment = replace(PAYMENT, status=PaymentStatus.FAILED, decline=STOLEN)
    text = shop.get(shop.put(FAILED, payment)).text
    assert "The payment was declined" in text
    assert "stolen" not in text.lower()


def test_a_balance_that_a_dispute_opened_again_can_be_paid(shop: Shop) -> None:
    text = shop.get(shop.put(replace(INVOICE, paid=23450, balance=100000, disputed=True))).text
    assert "This amount is open again" in text
    assert "€1,000.00" in text
    assert "−€234.50" in text
    assert "<form" in text


def test_an_attempt_under_way_is_waited_for(shop: Shop) -> None:
    text = shop.get(shop.put(INVOICE, attempt=AttemptStatus.PROCESSING)).text
    assert "Your payment is on its way" in text
    assert "<form" not in text


def test_the_providers_word_on_the_way_back_is_no_proof(shop: Shop) -> None:
    link = shop.put(INVOICE)
    text = shop.get(f"{link}?payment_id=pay_x&status=succeeded").text
    assert "We are waiting for the confirmation" in text
    assert "thank you" not in text
    assert f'href="{link}"' in text  # the way out for those who did not finish
    assert "pay_x" not in text


def test_an_earlier_failure_is_not_shown_while_the_next_try_is_unconfirmed(shop: Shop) -> None:
    failed = replace(PAYMENT, status=PaymentStatus.FAILED, decline=SOFT)
    link = shop.put(FAILED, failed, attempt=AttemptStatus.OPEN)
    assert "We are waiting for the confirmation" in shop.get(f"{link}?status=succeeded").text
    assert "The payment was declined" in shop.get(link).text


def test_a_failure_of_the_try_itself_is_shown_on_the_way_back(shop: Shop) -> None:
    failed = replace(PAYMENT, status=PaymentStatus.FAILED, decline=SOFT)
    link = shop.put(FAILED, failed, attempt=AttemptStatus.FAILED)
    assert "The payment was declined" in shop.get(f"{link}?status=succeeded").text


@pytest.mark.parametrize("token", ["x", "short", "A" * 32, "%00" * 30, "A" * 4000])
def test_an_unknown_link_is_a_page_too(shop: Shop, token: str) -> None:
    for answer in (shop.get(f"/pay/{token}"), shop.post(f"/pay/{token}")):
        assert answer.status_code == 404
        assert "This link leads to no invoice" in answer.text
        assert answer.headers["Cache-Control"] == "no-store"


def test_everything_is_escaped(shop: Shop) -> None:
    hostile = '"><script>alert(1)</script>'
    failed = replace(
        PAYMENT, status=PaymentStatus.FAILED, decline=replace(SOFT, message="<img src=x onerror=alert(1)>")
    )
    text = shop.get(shop.put(replace(FAILED, number=hostile, kind="<b>x</b>"), failed)).text
    assert "<script>" not in text
    assert "<img src=x" not in text
    assert "<b>x" not in text.lower()
    assert "&lt;script&gt;" in text


def test_nothing_of_provider_customer_or_keys_is_on_the_page(shop: Shop) -> None:
    link = shop.put(PAID, PAYMENT, attempt=AttemptStatus.SUCCEEDED)
    for text in (shop.get(link).text, shop.get(f"{link}?email=a@b.example&status=x").text):
        assert "secret" not in text
        assert "acct_1" not in text
        assert "a@b.example" not in text
        assert "fakepay" not in text


def test_the_headers_allow_nothing_but_the_page_itself(shop: Shop) -> None:
    answer = shop.get(shop.put(INVOICE))
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        **dict.fromkeys(("script-src", "style-src", "img-src", "font-src", "connect-src"), "'self'"),
        "form-action": "'self' https:",
    }
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"


def test_only_a_page_that_can_be_paid_may_send_a_form_elsewhere(shop: Shop) -> None:
    paid = shop.get(shop.put(PAID))
    assert "form-action 'self';" in paid.headers["Content-Security-Policy"]


def test_only_a_waiting_page_looks_again(shop: Shop) -> None:
    assert "look-again.js" in shop.get(f"{shop.put(INVOICE)}?status=succeeded").text
    assert "look-again.js" not in shop.get(shop.put(PAID)).text


# --- where a click leads ---------------------------------------------------------------------------------------------


def test_a_click_leads_to_the_checkout(shop: Shop) -> None:
    answer = shop.post(shop.bill())
    assert answer.status_code == 303
    assert answer.headers["Location"] == "https://pay.example.com/session_1"
    assert shop.attempts() == [(1, AttemptStatus.OPEN)]


def test_a_second_click_leads_to_the_same_checkout(shop: Shop, provider: FakeProvider) -> None:
    link = shop.bill()
    first, second = shop.post(link), shop.post(link)
    assert first.headers["Location"] == second.headers["Location"]
    assert len([call for call in provider.calls if call.money]) == 1


def test_two_clicks_at_once_lead_to_the_same_checkout(tmp_path: Path, clock: VirtualClock) -> None:
    slow = SlowProvider(clock=clock)
    shop = Shop(tmp_path, provider=slow, clock=clock)
    link, answers = shop.bill(), []
    clicks = [threading.Thread(target=lambda: answers.append(shop.post(link))) for _ in range(2)]
    clicks[0].start()
    assert slow.asked.wait(10)
    clicks[1].start()
    slow.go_on.set()
    for click in clicks:
        click.join(10)
    assert [answer.headers["Location"] for answer in answers] == ["https://pay.example.com/session_1"] * 2
    assert shop.attempts() == [(1, AttemptStatus.OPEN)]
    shop.runtime.close()


def test_a_click_long_after_the_invoice_came_asks_the_engine_first_and_still_leads_on(shop: Shop) -> None:
    link = shop.bill()
    shop.clock.advance(timedelta(days=3))
    assert shop.post(link).headers["Location"] == "https://pay.example.com/session_1"


def test_a_number_that_was_needless_once_is_passed_over(shop: Shop) -> None:
    """The scheduled retry was superseded because the invoice was paid; then a dispute opened it again."""
    link = shop.bill()
    assert shop.post(link).status_code == 303
    with shop.db.begin() as tx:
        ref = billing.invoices.all(tx)[0].ref
        (attempt,) = billing.attempts_of(tx, ref)
        billing.put_attempt(tx, replace(attempt, status=AttemptStatus.SUCCEEDED))
        effect_id = outbox.add(tx, replace(an_effect(tx), attempt=2), now=shop.clock.now())
        assert effect_id is not None
        outbox.finish(tx, effect_id, status=outbox.EffectStatus.SUPERSEDED, now=shop.clock.now())
    assert shop.post(link).headers["Location"] == "https://pay.example.com/session_2"
    assert [number for number, _ in shop.attempts()] == [1, 3]


def an_effect(tx: outbox.Tx) -> outbox.CollectInvoice:
    (row,) = [row for row in outbox.page(tx) if row.kind == "collect_invoice"]
    return row.effect


def test_a_click_on_what_is_paid_leads_back_to_the_page(shop: Shop) -> None:
    link = shop.put(PAID)
    answer = shop.post(link)
    assert (answer.status_code, answer.headers["Location"]) == (303, link)


def test_a_provider_that_does_not_answer_is_told_and_a_later_click_works(
    shop: Shop, provider: FakeProvider
) -> None:
    link = shop.bill()
    provider.fail_next(FaultKind.UNAVAILABLE)
    answer = shop.post(link)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "The payment page didn’t open" in answer.text
    assert "<form" in answer.text
    assert shop.post(link).headers["Location"] == "https://pay.example.com/session_1"
    assert shop.attempts() == [(1, AttemptStatus.OPEN)]


def test_a_refusal_is_told_without_its_details(tmp_path: Path, clock: VirtualClock) -> None:
    shop = Shop(tmp_path, provider=FakeProvider(clock=clock, currencies=("USD",)), clock=clock)
    link = shop.bill()
    for _ in range(2):
        answer = shop.post(link)
        assert answer.status_code == 409
        assert "This invoice can’t be paid online just now" in answer.text
        assert "is not offered here" not in answer.text
        assert "<form" in answer.text
    shop.runtime.close()


def test_without_a_payment_provider_a_click_is_refused(tmp_path: Path, clock: VirtualClock) -> None:
    shop = Shop(tmp_path, provider=None, clock=clock)
    answer = shop.post(shop.bill())
    assert answer.status_code == 409
    assert "BILLHOOK_" not in answer.text
    shop.runtime.close()


def test_a_checkout_whose_state_cannot_be_looked_up_is_told(tmp_path: Path, clock: VirtualClock) -> None:
    class Mute(FakeProvider):
        def checkout_usable(self, session: str) -> bool:
            raise Temporary("no answer")

    shop = Shop(tmp_path, provider=Mute(clock=clock), clock=clock)
    answer = shop.post(shop.put(INVOICE, attempt=AttemptStatus.OPEN))
    assert answer.status_code == 503
    assert "The payment page didn’t open" in answer.text
    shop.runtime.close()


def test_while_the_provider_counts_as_down_a_click_is_told_so_at_once_and_the_link_stays(
    tmp_path: Path, clock: VirtualClock
) -> None:
    class Mute(FakeProvider):
        looks = 0

        def checkout_usable(self, session: str) -> bool:
            self.looks += 1
            raise Temporary("no answer")

    provider = Mute(clock=clock)
    shop = Shop(tmp_path, provider=provider, clock=clock)
    opened, fresh = shop.put(INVOICE, attempt=AttemptStatus.OPEN), shop.bill()
    for _ in range(TOLERATED):
        assert shop.post(opened).status_code == 503
    for link in (opened, fresh):
        answer = shop.post(link)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert "Please try again in a moment" in answer.text
        assert f'action="{link}"' in answer.text
    assert (provider.looks, provider.calls) == (TOLERATED, []), "nobody asked it again"
    clock.advance(timedelta(minutes=1))
    assert shop.post(fresh).status_code == 303
    shop.runtime.close()


def test_a_database_that_is_out_of_reach_is_told(shop: Shop) -> None:
    link = shop.put(INVOICE)
    tables.metadata.drop_all(shop.db.engine)
    for answer in (shop.get(link), shop.post(link)):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert "Back in a moment" in answer.text
        assert answer.headers["Cache-Control"] == "no-store"


# --- words for people ------------------------------------------------------------------------------------------------


def test_the_customer_s_own_language_comes_before_the_browser_s(shop: Shop) -> None:
    with shop.db.begin() as tx:
        accounts.put_customer(tx, "acct_1", given={"name": "Ada", "locale": "de-DE"}, now=NOW)
    answer = shop.get(shop.put(INVOICE))
    assert answer.headers["Content-Language"] == "de"
    for text in (
        '<html lang="de">',
        "1.234,50\xa0€",
        "1. Dez. 2026",
        "1.–30. Nov. 2026",
        "Wie möchten Sie zahlen?",
    ):
        assert text in answer.text


def test_somebody_unknown_is_spoken_to_as_their_browser_asks(shop: Shop) -> None:
    link = shop.put(replace(INVOICE, customer_id=None))
    german = shop.app.test_client().get(link, headers={"Accept-Language": "de-AT,de;q=0.9"})
    assert "€\xa01.234,50" in german.text
    assert "Fälliger Betrag" in german.text
    assert "Amount due" in shop.get(link).text


def test_a_decline_is_told_in_the_reader_s_language_where_its_code_is_known(shop: Shop) -> None:
    known = replace(PAYMENT, status=PaymentStatus.FAILED, decline=replace(SOFT, code="insufficient_funds"))
    link = shop.put(FAILED, known)
    german = shop.app.test_client().get(link, headers={"Accept-Language": "de"}).text
    assert "nicht genug Geld" in german
    assert SOFT.message not in german
    assert SOFT.message in shop.get(link).text


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ((2026, 11, 1), (2026, 12, 1), "1–30 Nov 2026"),
        ((2026, 11, 15), (2026, 12, 15), "15 Nov\u2009–\u200914 Dec 2026"),
        ((2026, 12, 15), (2027, 1, 15), "15 Dec 2026\u2009–\u200914 Jan 2027"),
        ((2026, 11, 1), (2026, 11, 2), "1 Nov 2026"),
    ],
)
def test_a_period_names_its_last_day(
    start: tuple[int, int, int], end: tuple[int, int, int], text: str
) -> None:
    period = Period(start=datetime(*start, tzinfo=UTC), end=datetime(*end, tzinfo=UTC))
    assert words_for("en").days(period) == text
