"""The client for code that waits: Flask, Django, scripts. Threads may share one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from datetime import timedelta
from types import TracebackType
from typing import Self

import httpx

from billhook.client.answer import Access
from billhook.client.asking import Asking
from billhook.client.cache import Key
from billhook.client.exchange import Call, Reply
from billhook.client.outage import OnOutage
from billhook.client.transport import NO_ANSWER, arguments, options, reply_of, why
from billhook.client.webhooks import WebhookEvent
from billhook.clock import Clock, SystemClock
from billhook.errors import BillhookError
from billhook.lease import Lease, Subject


class BillhookClient:
    """Asks Billhook what a customer may use, and has an answer when Billhook cannot be asked.

    One for the whole process: it remembers answers. Close it, or use it in a ``with``.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        on_outage: OnOutage | str = OnOutage.DENY,
        clock: Clock | None = None,
        timeout: float = 2.0,
        max_age: timedelta = timedelta(seconds=1),
        size: int = 10_000,
        issuer: str | None = None,
    ) -> None:
        """Prepare; nothing is called yet.

        :param api_key: one with the scope ``access:read``.
        :param on_outage: ``deny``, ``allow``, ``last_known`` or ``raise``: when Billhook cannot be asked and no lease holds.
        :param timeout: seconds to wait for a connection, and for each part of an answer.
        :param max_age: how long an answer is given again without asking; never past the change that it foresees.
        :param size: how many customers and subscriptions are remembered.
        :param issuer: the public URL that leases must name; None: any, as the keys come from ``base_url``.
        :raises ValueError: one of them cannot be used.
        """
        self._asking = Asking(
            choice=OnOutage(on_outage),
            clock=clock or SystemClock(),
            max_age=max_age,
            size=size,
            issuer=issuer,
        )
        self._http = httpx.Client(**options(base_url, api_key, timeout))
        self._flights: dict[Key, Future[Access]] = {}
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def access(self, customer: str) -> Access:
        """Return what a customer may use now.

        :raises NotFound: Billhook does not know this customer.
        :raises CredentialsRefused: the key is not accepted.    :raises Refused: another refusal.
        :raises Temporary: Billhook cannot be asked; only with ``on_outage="raise"``.
        """
        return self._access((Subject.CUSTOMER, customer))

    def subscription_access(self, ref: str) -> Access:
        """Return what a subscription gives access to now. Raises as :meth:`access`."""
        return self._access((Subject.SUBSCRIPTION, ref))

    def query(self, customers: Sequence[str]) -> dict[str, Access]:
        """Return what many customers (at most 1,000) may use now, in one call; who is not known is not in the answer.

        :raises ValueError: too many.    Otherwise raises as :meth:`access`.
        """
        call = self._asking.query_call(customers)
        if call is None:
            return self._asking.query_without(customers)
        reply = self._send(call)
        if isinstance(reply, str):
            return self._asking.query_failed(customers, reply)
        return self._asking.query_settle(customers, call, reply)

    def verify_lease(self, token: str) -> Lease:
        """Return what a lease states that somebody hands you; offline, but for the public keys now and then.

        :raises LeaseInvalid: believe nothing it says.
        """
        if self._asking.keys.lacks(token):
            self._read_keys()
        return self._asking.keys.verify(token)

    def heard(self, event: WebhookEvent) -> bool:
        """Take in a webhook that was verified; False when it is no news. The order in which they come does not matter."""
        return self._asking.heard(event)

    def _access(self, key: Key) -> Access:
        known = self._asking.known(key)
        if known is not None:
            return known
        with self._turn:
            flight = self._flights.get(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        return self._lead(key, flight) if mine else self._follow(key, flight)

    def _lead(self, key: Key, flight: Future[Access]) -> Access:
        """Ask, and share what comes with everybody who wants to know the same meanwhile."""
        try:
            answer = self._ask(key)
            flight.set_result(answer)
            return answer
        except BillhookError as exc:
            flight.set_exception(exc)
            raise
        finally:
            with self._turn:
                self._flights.pop(key, None)
            flight.cancel()  # without effect unless this thread is being ended

    def _follow(self, key: Key, flight: Future[Access]) -> Access:
        try:
            return flight.result()
        except CancelledError:
            return self._access(key)  # who asked was ended

    def _ask(self, key: Key) -> Access:
        call = self._asking.call(key)
        if call is None:
            return self._asking.without(key)
        reply = self._send(call)
        if isinstance(reply, str):
            return self._asking.failed(key, reply)
        if self._asking.again(call, reply):
            return self._ask(key)
        if self._asking.wants_keys(reply):
            self._read_keys()
        return self._asking.settle(key, call, reply)

    def _read_keys(self) -> None:
        call = self._asking.keys.call()
        reply = self._send(call)
        self._asking.keys.came(call, None if isinstance(reply, str) else reply)

    def _send(self, call: Call) -> Reply | str:
        """Return what came back, or why nothing did."""
        try:
            return reply_of(self._http.request(**arguments(call)))
        except NO_ANSWER as exc:
            return why(exc)
