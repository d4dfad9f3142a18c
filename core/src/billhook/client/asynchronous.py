"""The client for code that does not wait: FastAPI, Starlette, asyncio. Tasks of one event loop may share one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
from billhook.lease import Lease, Subject


class AsyncBillhookClient:
    """The twin of :class:`~billhook.client.sync.BillhookClient`: the same answers, awaited.

    One for the whole event loop. Close it with ``aclose``, or use it in an ``async with``.
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
        """Prepare; nothing is called yet. The arguments are those of the twin; raises ValueError as it does."""
        self._asking = Asking(
            choice=OnOutage(on_outage),
            clock=clock or SystemClock(),
            max_age=max_age,
            size=size,
            issuer=issuer,
        )
        self._http = httpx.AsyncClient(**options(base_url, api_key, timeout))
        self._flights: dict[Key, asyncio.Task[Access]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def access(self, customer: str) -> Access:
        """Return what a customer may use now.

        :raises NotFound: Billhook does not know this customer.
        :raises CredentialsRefused: the key is not accepted.    :raises Refused: another refusal.
        :raises Temporary: Billhook cannot be asked; only with ``on_outage="raise"``.
        """
        return await self._access((Subject.CUSTOMER, customer))

    async def subscription_access(self, ref: str) -> Access:
        """Return what a subscription gives access to now. Raises as :meth:`access`."""
        return await self._access((Subject.SUBSCRIPTION, ref))

    async def query(self, customers: Sequence[str]) -> dict[str, Access]:
        """Return what many customers (at most 1,000) may use now, in one call; who is not known is not in the answer.

        :raises ValueError: too many.    Otherwise raises as :meth:`access`.
        """
        call = self._asking.query_call(customers)
        if call is None:
            return self._asking.query_without(customers)
        reply = await self._send(call)
        if isinstance(reply, str):
            return self._asking.query_failed(customers, reply)
        return self._asking.query_settle(customers, call, reply)

    async def verify_lease(self, token: str) -> Lease:
        """Return what a lease states that somebody hands you; offline, but for the public keys now and then.

        :raises LeaseInvalid: believe nothing it says.
        """
        if self._asking.keys.lacks(token):
            await self._read_keys()
        return self._asking.keys.verify(token)

    def heard(self, event: WebhookEvent) -> bool:
        """Take in a webhook that was verified; False when it is no news. The order in which they come does not matter."""
        return self._asking.heard(event)

    async def _access(self, key: Key) -> Access:
        known = self._asking.known(key)
        if known is not None:
            return known
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._ask(key))
            flight.add_done_callback(lambda _done: self._flights.pop(key, None))
        return await asyncio.shield(flight)  # who stops waiting does not stop it for the others

    async def _ask(self, key: Key) -> Access:
        call = self._asking.call(key)
        if call is None:
            return self._asking.without(key)
        reply = await self._send(call)
        if isinstance(reply, str):
            return self._asking.failed(key, reply)
        if self._asking.again(call, reply):
            return await self._ask(key)
        if self._asking.wants_keys(reply):
            await self._read_keys()
        return self._asking.settle(key, call, reply)

    async def _read_keys(self) -> None:
        call = self._asking.keys.call()
        reply = await self._send(call)
        self._asking.keys.came(call, None if isinstance(reply, str) else reply)

    async def _send(self, call: Call) -> Reply | str:
        """Return what came back, or why nothing did."""
        try:
            return reply_of(await self._http.request(**arguments(call)))
        except NO_ANSWER as exc:
            return why(exc)
