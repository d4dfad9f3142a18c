"""A payment provider in memory where customers keep payment methods, and pay on the host's own page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from billhook.clock import Clock, VirtualClock
from billhook.errors import NotFound, Temporary
from billhook.events import PaymentFailed
from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.methods import PageKit, PagePayment, PageState, SavedMethod, Setup, SetupRequest
from billhook.model import (
    Customer,
    Decline,
    DeclineClass,
    PaymentMethod,
    Ref,
    Subscription,
    SubscriptionStatus,
)
from billhook.money import Money
from billhook.plugins import Installed
from billhook.provider import Collected, CollectRequest
from billhook.testing.fakes import FakeEngine, FakeProvider
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.services.sweep import sweep
from billhook_web.services.wallet import Added, Wish
from billhook_web.settings import read_configuration
from billhook_web.stores import billing
from billhook_web.stores.billing import Row

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SECRET = "seti_client_secret_0123456789"
PAY_SECRET = "pi_client_secret_0123456789"


class KeepingProvider(FakeProvider):
    """Keeps methods per customer. ``down``: every call about methods finds nobody."""

    def __init__(self, connection: str = "keeps", *, clock: Clock) -> None:
        super().__init__(connection, clock=clock)
        self.kept: dict[str, list[SavedMethod]] = {}
        self.setups: dict[str, tuple[str, Setup]] = {}
        self.by_key: dict[str, str] = {}
        self.asked: list[str] = []
        self.on_page: dict[str, PagePayment] = {}
        self.banks: dict[str, dict[str, object]] = {}
        self.taken: list[tuple[str, str, str]] = []
        self.before_answer: Callable[[], None] = lambda: None
        self.down = False

    # --- the customer, at the provider

    def keep(self, owner: str, name: str, *, fingerprint: str | None = None, **about: object) -> Ref:
        """Let a customer have a method; the first is the default."""
        ref = Ref(self.connection, name)
        method = PaymentMethod(ref=ref, brand="visa", last4="4242", expires="2031-08", reusable=True)
        mine = self.kept.setdefault(owner, [])
        saved = SavedMethod(method=replace(method, **about), default=not mine, fingerprint=fingerprint)  # type: ignore[arg-type]  # what the tests name
        mine.append(saved)
        return ref

    def complete(self, setup: str, name: str, *, fingerprint: str | None = None) -> None:
        """The customer fills the form in and the bank agrees."""
        owner, begun = self.setups[setup]
        same = [each for each in self.kept.get(owner, []) if fingerprint and each.fingerprint == fingerprint]
        self.keep(owner, name, fingerprint=fingerprint)
        before = same[-1].method.ref if same else None
        done = replace(begun, state=PageState.SUCCEEDED, client_secret=None, saved_before=before)
        self.setups[setup] = (owner, replace(done, method=self.kept[owner][-1]))

    def stands(self, setup: str, state: PageState, *, decline: Decline | None = None) -> None:
        """The set-up comes to stand otherwise."""
        owner, begun = self.setups[setup]
        self.setups[setup] = (owner, replace(begun, state=state, decline=decline))

    # --- SupportsMethodManagement

    def provider_customer(self, customer: Customer) -> str:
        """Return the id there."""
        self._asked("provider_customer")
        return f"cus_{customer.id}"

    def saved_methods(self, provider_customer: str) -> Sequence[SavedMethod]:
        """List, the default first."""
        self._asked("saved_methods")
        return sorted(self.kept.get(provider_customer, []), key=lambda each: not each.default)

    def begin_setup(self, request: SetupRequest) -> Setup:
        """Begin, once for each key; a repetition is answered with how it was begun."""
        self._asked("begin_setup")
        name = self.by_key.setdefault(request.key, f"seti_{len(self.by_key) + 1}")
        begun = Setup(id=name, state=PageState.OPEN, client_secret=SECRET)
        self.setups.setdefault(name, (request.provider_customer, begun))
        return begun

    def setup(self, provider_customer: str, setup: str) -> Setup:
        """Say how one stands; ``method`` is what the customer still keeps of it."""
        self._asked("setup")
        owner, found = self.setups.get(setup, ("", None))
        if found is None or owner != provider_customer:
            raise NotFound(f"no set-up {setup}")
        kept = [each for each in self.kept.get(owner, []) if each.method.ref == _ref(found)]
        return replace(found, method=kept[0] if kept else None)

    def set_default(self, provider_customer: str, method: Ref) -> None:
        """Take this one first."""
        self._asked("set_default")
        mine = self.kept.get(provider_customer, [])
        self.kept[provider_customer] = [replace(each, default=each.method.ref == method) for each in mine]

    def remove_method(self, provider_customer: str, method: Ref) -> None:
        """Forget it."""
        self._asked("remove_method")
        mine = self.kept.get(provider_customer, [])
        self.kept[provider_customer] = [each for each in mine if each.method.ref != method]

    # --- SupportsPageKit, SupportsPagePayment

    def page_kit(self) -> PageKit:
        """Return a page's parts."""
        return PageKit(
            scripts=("https://js.keeps.example/v1.js",),
            adapter="window.billhookPayments = {};",
            settings={"key": "pk_</script>_public"},
            sources={"script-src": ("https://js.keeps.example",), "frame-src": ("https://js.keeps.example",)},
        )

    def collect(self, request: CollectRequest) -> Collected:
        """Open an attempt that is paid on the host's own page."""
        collected = replace(super().collect(request), url=request.return_url)
        assert collected.session is not None
        self.on_page.setdefault(collected.session, _open(collected.session, request.amount))
        return collected

    def page_payment(self, session: str) -> PagePayment:
        """Say how it stands."""
        self._asked("page_payment")
        if session not in self.on_page:
            raise NotFound(f"no payment {session}")
        return self.on_page[session]

    # --- SupportsSavedPayment

    def pay_saved(self, session: str, method: Ref, *, key: str) -> PagePayment:
        """Take an open attempt, once; what the bank says of a method is in ``banks``, else it agrees. What is done
        ``before_answer`` may keep the caller from getting it."""
        self._asked("pay_saved")
        found = self.on_page.get(session)
        kept = [each.method.ref for mine in self.kept.values() for each in mine]
        if found is None or method not in kept:
            raise NotFound(f"no payment {session}, or no method {method}")
        if found.state is PageState.OPEN:
            self.on_page[session] = replace(found, **self.banks.get(method.id, _PAID))
            self.taken.append((session, method.id, key))
        self.before_answer()
        return self.on_page[session]

    def _asked(self, operation: str) -> None:
        self.asked.append(operation)
        if self.down:
            raise Temporary("nobody answers")


class KeepingPlugin:
    """Brings one such provider."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def payment_providers(self, context: ConnectionContext) -> Iterable[KeepingProvider]:
        return [KeepingProvider(context.name, clock=context.clock)]


class BillingPlugin:
    """Brings a billing engine."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def billing_engines(self, context: ConnectionContext) -> Iterable[FakeEngine]:
        return [FakeEngine(context.name, clock=context.clock)]


def _open(session: str, amount: Money) -> PagePayment:
    return PagePayment(session=session, state=PageState.OPEN, amount=amount, client_secret=PAY_SECRET)


_PAID = {"state": PageState.SUCCEEDED, "client_secret": None, "decline": None, "waits": False}


def _ref(setup: Setup) -> Ref | None:
    return setup.method.method.ref if setup.method else None


STOLEN = Decline(code="stolen_card", kind=DeclineClass.HARD, message="Stolen.", sensitive=True)


class Shop:
    """A host with a billing engine and two providers that keep methods; acct_1 and acct_2 are known."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.app = create_app(runtime, Wake(runtime))
        self.methods = runtime.methods
        self.clock = runtime.clock
        for customer in ("acct_1", "acct_2"):
            runtime.customers.upsert(customer, {"name": "Ada", "currency": "EUR"})

    def provider(self, name: str = "keeps") -> KeepingProvider:
        found = self.runtime.connections.provider(name)
        assert isinstance(found, KeepingProvider)
        return found

    @property
    def engine(self) -> FakeEngine:
        found = self.runtime.connections.engine("acme")
        assert isinstance(found, FakeEngine)
        return found

    def subscribe(self, status: SubscriptionStatus = SubscriptionStatus.ACTIVE) -> None:
        ref = Ref("acme", "row_1")
        row = Subscription(ref=ref, external_id="sub_1", customer_id="acct_1", plan="team", status=status)
        with self.runtime.db.begin() as tx:
            billing.subscriptions.put(tx, ref, row, Row(customer_id="acct_1", status=status, at=START))

    def add(self, name: str, *, fingerprint: str | None = None, wish: Wish | None = None) -> Added:
        """Add a method from a form of its own, as the page does it."""
        setup = self.begin(form=f"form-{name}", wish=wish)
        self.provider().complete(setup.id, name, fingerprint=fingerprint)
        return self.methods.finish("acct_1", "keeps", setup.id)

    def begin(self, customer: str = "acct_1", *, form: str = "f", wish: Wish | None = None) -> Setup:
        """Let somebody send the form."""
        return self.methods.begin(customer, "keeps", form=form, wish=wish or Wish())

    def kept(self) -> list[str]:
        return [each.ref.id for each in self.methods.wallet("acct_1").held]

    def failed_invoice(self) -> Ref:
        """Let an invoice be declined once."""
        ref = self.engine.bill("acct_1", Money(4_900, "EUR"))
        self.apply_and_deliver(*self.engine.facts_of(ref))
        with self.runtime.db.read() as tx:
            (attempt,) = billing.attempts_of(tx, ref)
        failure = PaymentFailed(
            at=self.clock.now(), ref=Ref("keeps", f"pay_of_{ref.id}"), amount=attempt.amount, applied=attempt.amount,
            session=attempt.session, metadata=self.metadata(ref, attempt.key), decline=STOLEN,
        )  # fmt: skip
        self.apply_and_deliver(failure)
        return ref

    def metadata(self, ref: Ref, key: str) -> dict[str, str]:
        return self.runtime.connections.metadata_for(ref, number=None, customer_id="acct_1", key=key)

    def apply_and_deliver(self, *facts: object) -> None:
        with self.runtime.db.begin() as tx:
            effects = self.runtime.recorder.apply(tx, facts, now=self.clock.now()).effects  # type: ignore[arg-type]  # facts
        for effect in effects:
            self.runtime.delivery.deliver(effect)

    def deliver_what_is_due(self) -> None:
        for effect, _ in sweep(self.runtime.db, now=self.clock.now()).effects:
            self.runtime.delivery.deliver(effect)

    def attempts(self, invoice: Ref) -> int:
        with self.runtime.db.read() as tx:
            return len(billing.attempts_of(tx, invoice))


def make_shop(path: Path, **settings: str) -> Shop:
    """Return a shop on a database that has its tables; ``settings`` are more of the environment."""
    env = {
        "BILLHOOK_DATABASE_URL": f"sqlite:///{path}",
        "BILLHOOK_CONNECTIONS": "acme,keeps,other=keeps",
        "BILLHOOK_PUBLIC_URL": "https://billing.test",
        **settings,
    }
    installed = [Installed(name="acme", load=BillingPlugin), Installed(name="keeps", load=KeepingPlugin)]
    return Shop(build_runtime(read_configuration(env), clock=VirtualClock(START), installed=installed))
