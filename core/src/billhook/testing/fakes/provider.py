"""A payment provider in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from billhook.clock import Clock
from billhook.errors import NotFound, ProviderError, Refused
from billhook.events import PaymentFailed, PaymentSucceeded, RefundChanged
from billhook.model import Decline, DeclineClass, Ref, RefundStatus
from billhook.money import Money
from billhook.provider import Collected, CollectRequest, CollectState, ProviderInfo, RefundRequest
from billhook.testing.fakes.strikes import Strikes, answered
from billhook.testing.sandbox import FaultKind
from billhook.testing.wire import WireCall

DECLINED = Decline(code="declined", kind=DeclineClass.SOFT, message="The card was declined.")


@dataclass(slots=True)
class _Session:
    request: CollectRequest
    collected: Collected
    payment: Ref | None = None
    given_back: int = 0


class _Said(TypedDict):
    at: datetime
    ref: Ref
    amount: Money
    applied: Money
    session: str | None
    metadata: Mapping[str, str]


class FakeProvider:
    """Collects by hosted checkout, or at once when ``outcome`` says so; gives money back.

    ``calls`` are its wire. :meth:`pay` and :meth:`decline` are the customer, :meth:`settle_refund` the bank; each
    returns the fact a webhook would bring.
    """

    def __init__(
        self, connection: str = "fakepay", *, clock: Clock, currencies: Sequence[str] = ("EUR", "USD")
    ) -> None:
        self.connection = connection
        self.info = ProviderInfo(plugin="fakepay", title="Fake payments")
        self.calls: list[WireCall] = []
        self.outcome = CollectState.OPEN
        self._clock = clock
        self._currencies = frozenset(currencies)
        self._faults = Strikes()
        self._sessions: dict[str, _Session] = {}  # by our key
        self._refunds: dict[str, tuple[Ref, RefundRequest]] = {}  # by our key

    def fail_next(self, kind: FaultKind) -> None:
        """Let the next write go wrong."""
        self._faults.add(kind)

    # --- PaymentProvider

    def collect(self, request: CollectRequest) -> Collected:
        """Open a checkout, or end at once as ``outcome`` says."""
        if request.amount.currency not in self._currencies:
            raise Refused(f"{request.amount.currency} is not offered here", code="currency", field="currency")
        if request.amount.minor <= 0:
            raise Refused("there is nothing to collect", code="amount", field="amount")
        lost = self._write("/collect", request.key)
        self._sessions.setdefault(request.key, self._session(request))
        return answered(lost, self._sessions[request.key].collected)

    def find_collected(self, request: CollectRequest) -> Collected | None:
        """Look the key up."""
        self.calls.append(WireCall(method="GET", path=f"/collect/{request.key}"))
        session = self._sessions.get(request.key)
        return session.collected if session else None

    def _session(self, request: CollectRequest) -> _Session:
        number = len(self._sessions) + 1
        payment = None if self.outcome is CollectState.OPEN else Ref(self.connection, f"pay_{number}")
        is_open = self.outcome is CollectState.OPEN
        collected = Collected(
            state=self.outcome,
            by="checkout" if is_open else "mandate",
            session=f"session_{number}",
            url=f"https://pay.example.com/session_{number}" if is_open else None,
            payment=payment,
            decline=DECLINED if self.outcome is CollectState.DECLINED else None,
        )
        paid = payment if self.outcome is CollectState.SUCCEEDED else None
        return _Session(request, collected, paid)

    def _write(self, path: str, key: str) -> ProviderError | None:
        """Note the call. Raise when nothing shall happen; return the error of a call whose answer gets lost."""
        self.calls.append(WireCall(method="POST", path=path, headers={"idempotency-key": key}, money=True))
        return self._faults.strike()

    # --- SupportsCheckoutStatus

    def checkout_usable(self, session: str) -> bool:
        """Tell whether a customer could still pay there."""
        return any(
            each.collected.session == session and each.collected.url is not None and each.payment is None
            for each in self._sessions.values()
        )

    # --- SupportsRefunds

    def refund(self, request: RefundRequest) -> Ref:
        """Give back, at most what is left."""
        session = self._paid(request.payment)
        if request.amount.minor > session.request.amount.minor - session.given_back:
            raise Refused("more than was paid and not given back", code="amount", field="amount")
        lost = self._write("/refunds", request.key)
        if request.key not in self._refunds:
            session.given_back += request.amount.minor
            self._refunds[request.key] = (
                Ref(self.connection, f"refund_{len(self._refunds) + 1}"),
                request,
            )
        return answered(lost, self._refunds[request.key][0])

    def find_refund(self, request: RefundRequest) -> Ref | None:
        """Look the key up."""
        self.calls.append(WireCall(method="GET", path=f"/refunds/{request.key}"))
        found = self._refunds.get(request.key)
        return found[0] if found else None

    # --- what happens there

    def pay(self, request: CollectRequest) -> PaymentSucceeded:
        """The customer pays."""
        session = self._sessions[request.key]
        session.payment = session.payment or Ref(self.connection, f"pay_{session.collected.session}")
        return PaymentSucceeded(**self._said_of(session, session.payment))

    def decline(self, request: CollectRequest, decline: Decline = DECLINED) -> PaymentFailed:
        """The bank says no; the customer may try again at the same checkout."""
        session = self._sessions[request.key]
        payment = Ref(self.connection, f"declined_{session.collected.session}")
        return PaymentFailed(**self._said_of(session, payment), decline=decline)

    def settle_refund(self, request: RefundRequest, *, succeeded: bool = True) -> RefundChanged:
        """The bank carries a refund out, or does not."""
        ref, _ = self._refunds[request.key]
        return RefundChanged(
            at=self._clock.now(),
            ref=ref,
            payment=request.payment,
            status=RefundStatus.SUCCEEDED if succeeded else RefundStatus.FAILED,
            amount=request.amount,
            metadata=request.metadata,
        )

    def _said_of(self, session: _Session, payment: Ref) -> _Said:
        return {
            "at": self._clock.now(),
            "ref": payment,
            "amount": session.request.amount,
            "applied": session.request.amount,
            "session": session.collected.session,
            "metadata": session.request.metadata,
        }

    def _paid(self, payment: Ref) -> _Session:
        session = next((each for each in self._sessions.values() if each.payment == payment), None)
        if session is None:
            raise NotFound(f"there is no payment {payment.id}", code="payment_not_found")
        return session
