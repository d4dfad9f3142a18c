"""Paying an invoice with a method its customer keeps: which are offered, and taking the open attempt from one of them.

Money moves once, whatever is clicked. Every click takes the one attempt that is open, under the one session it has at the
provider, and a session is paid once at most (:class:`billhook.methods.SupportsSavedPayment`):

- a double click and a form that is sent again carry the same ``click`` and so are one call to the provider;
- two tabs and the back button carry two, and the second call finds the session paid, or under way, and is told so;
- an attempt by schedule that begins meanwhile calls this session off before it charges anything, and cannot when it is paid;
  once the provider has agreed, the attempt counts as under way here and no other begins;
- an answer that is lost is looked for; until it is found, the session stays the one that may be paid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from billhook.clock import Clock, pause
from billhook.errors import Conflict, NotFound, OutcomeUnknown, ProviderError, Refused, Temporary
from billhook.methods import PagePayment, PageState, SupportsPagePayment, SupportsSavedPayment
from billhook.model import Attempt, AttemptStatus, Ref
from billhook_web.db import Database, lock
from billhook_web.services.connections import Connections
from billhook_web.services.expiry import Expiry, expiry_of
from billhook_web.services.gates import Ask
from billhook_web.services.keepers import Keepers
from billhook_web.services.paying import WAITS, Paying, PayView
from billhook_web.services.wallet import Held
from billhook_web.stores import audit, billing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The saved methods an invoice may be paid with. ``silent``: the provider does not answer, so they are not known."""

    held: tuple[Held, ...] = ()
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What somebody asks for: ``method`` is a handle of :func:`handle_of`, ``click`` names the form that was sent, and
    ``actor`` who sent it, for the audit."""

    method: str
    click: str
    actor: str


def handle_of(token: str, method: Ref) -> str:
    """Return what a page calls a method: no provider's id, and good for this one pay link only."""
    return hashlib.sha256(f"{token}\n{method}".encode()).hexdigest()[:24]


class SavedPayment:
    """Pays invoices, one pay link at a time. Who may do so is decided by the page."""

    def __init__(
        self, *, db: Database, clock: Clock, connections: Connections, ask: Ask, paying: Paying
    ) -> None:
        self._db = db
        self._clock = clock
        self._connections = connections
        self._ask = ask
        self._paying = paying
        self._keepers = Keepers(db=db, connections=connections, ask=ask)

    def offer(self, view: PayView) -> Offer:
        """List what the customer keeps where this invoice is paid: the default first, then the newest."""
        try:
            return Offer(held=self._held(view))
        except (ProviderError, Refused) as exc:
            log.warning("pay.methods_not_listed", connection=view.payer, error=type(exc).__name__)
            return Offer(silent=True)

    def pay(self, token: str, choice: Choice) -> PagePayment:
        """Take the open attempt from a saved method, and say how it stands then; a decline is in the answer.

        :raises NotFound: the customer keeps no such method (any more).
        :raises Conflict: ``code`` is "over" when nothing is to be paid, "unusable" when this method cannot be charged.
        :raises OutcomeUnknown: it was asked for and no answer was found.    :raises ProviderError: no answer just now.
        """
        view = self._paying.view(token)
        if view is None or not view.payable:
            raise Conflict("Nothing is to be paid just now.", code="over")
        held = next((each for each in self._held(view) if handle_of(token, each.ref) == choice.method), None)
        if held is None:
            raise NotFound("The customer keeps no such payment method.")
        if held.expiry is Expiry.OVER or not held.saved.usable:
            raise Conflict("The payment method can not be charged any more.", code="unusable")
        attempt = self._paying.attempt(token)
        if attempt is None or attempt.session is None or attempt.connection != held.ref.connection:
            raise Conflict("It is paid elsewhere by now.", code="over")
        found = self._charge(attempt, attempt.session, held.ref, click=choice.click)
        log.info("pay.saved", invoice=str(attempt.invoice), key=attempt.key, state=found.state)
        if found.state in (PageState.SUCCEEDED, PageState.PROCESSING):
            self._note(attempt, held.ref, actor=choice.actor)
        return found

    def _held(self, view: PayView) -> tuple[Held, ...]:
        """Return the methods, also those that cannot be charged; none where no provider takes an attempt from one."""
        customer, payer = view.customer, view.payer
        if (
            customer is None
            or payer is None
            or self._provider(payer) is None
            or payer not in self._keepers.all()
        ):
            return ()
        today = self._clock.now().date()
        kept = self._keepers.call(customer, payer, lambda keeper, owner: keeper.saved_methods(owner))
        return tuple(
            Held(saved=each, ref=each.method.ref, expiry=expiry_of(each.method.expires, today=today))
            for each in kept
            if each.method.ref is not None
        )

    def _provider(self, connection: str) -> SupportsSavedPayment | None:
        found = self._connections.get(connection)
        provider: object = found.provider if found else None
        return provider if isinstance(provider, SupportsSavedPayment) else None

    def _charge(self, attempt: Attempt, session: str, method: Ref, *, click: str) -> PagePayment:
        provider = self._provider(attempt.connection)
        if provider is None:
            raise NotFound("No saved payment method can be charged there.")
        key = "pay-saved-" + hashlib.sha256(f"{session}\n{method}\n{click}".encode()).hexdigest()[:32]
        try:
            return self._ask(attempt.connection, lambda: provider.pay_saved(session, method, key=key))
        except (Temporary, OutcomeUnknown) as exc:
            return self._look_for(attempt.connection, session, exc)

    def _look_for(self, connection: str, session: str, exc: ProviderError) -> PagePayment:
        """Return what came of a call that was not answered: another click's call may be going on. Else raise ``exc``."""
        provider: object = self._connections.provider(connection)
        if not isinstance(provider, SupportsPagePayment):
            raise exc
        look: Callable[[], PagePayment] = lambda: provider.page_payment(session)  # noqa: E731 - given to the gate
        for wait in WAITS:
            try:
                found = self._ask(connection, look)
            except ProviderError:
                break
            if found.state is not PageState.OPEN or found.waits:
                return found
            pause(wait)
        raise exc

    def _note(self, attempt: Attempt, method: Ref, *, actor: str) -> None:
        """Count the attempt as under way until its webhook comes, and note once who asked for it."""
        with self._db.begin() as tx:
            lock(tx, [f"invoice/{attempt.invoice}"])
            current = billing.get_attempt(tx, attempt.key)
            if current is None or current.status is not AttemptStatus.OPEN:
                return
            billing.put_attempt(tx, replace(current, status=AttemptStatus.PROCESSING, by="saved_method"))
            detail = {"method": str(method), "attempt": attempt.key}
            now = self._clock.now()
            audit.add(tx, at=now, actor=actor, action="invoice.pay", subject=attempt.invoice, detail=detail)
