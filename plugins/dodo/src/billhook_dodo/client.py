"""Calls to Dodo's API: JSON objects in and out, Dodo's refusals as typed errors.

Dodo's error body is ``{"code", "message"}``; what is done about one follows the code, because Dodo publishes the
codes but not the HTTP status of each. Writes are never repeated here: Dodo knows no idempotency key on money calls
(the header is sent all the same, in case it learns to).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from billhook.config import prefix_of, secrets_of
from billhook.errors import (
    Conflict,
    NotFound,
    OutcomeUnknown,
    PayloadInvalid,
    Permanent,
    Refused,
    Temporary,
)
from billhook.hookspecs import ConnectionContext
from billhook.http import ApiClient, ApiResponse, Params

from .config import DodoConfig
from .payloads import Json, parsed, records

PAGE: Final = 100
"""The largest page Dodo serves."""
MOST_PAGES: Final = 200
IN_FLIGHT_PAUSE: Final = timedelta(minutes=10)
"""How long to let an earlier charge or refund finish before asking again."""

_IN_FLIGHT = {
    "PREVIOUS_PAYMENT_PENDING": "an earlier charge of this mandate is still under way; Dodo takes one at a time",
    "EXISTING_REFUND_REQUEST_PROCESSING": "an earlier refund of this payment is still under way; Dodo takes one at a time",
}
_FIXES = {
    "MERCHANT_NOT_LIVE": "finish the verification of the Dodo account, or use test mode",
    "REFUND_WINDOW_EXPIRED": "Dodo refunds for 30 days after the payment; pay the customer back another way",
    "PARTIAL_REFUND_NOT_ALLOWED": "this payment method is refunded as a whole or not at all; refund the whole payment",
    "UNSUPPORTED_CURRENCY": "Dodo does not charge this currency; invoice in another one",
    "UNSUPPORTED_COUNTRY": "Dodo does not sell to the customer's country; collect this invoice another way",
    "REQUEST_AMOUNT_BELOW_MINIMUM": "lower the minimum price of the pay-what-you-want product in Dodo's dashboard",
}
_ADDRESS = re.compile(r"\S+@\S+")


class DodoApi:
    """Dodo's API for one connection. ``mode`` and the variable's name are for messages."""

    def __init__(self, http: ApiClient, *, connection: str, mode: str) -> None:
        self._http = http
        self._variable = f"{prefix_of(connection)}_API_KEY"
        self._mode = mode

    def get(self, *path: str, params: Params | None = None) -> Json:
        """Read one object. Raises as :meth:`post`, but never ``OutcomeUnknown``."""
        return self._object(self._http.get(*path, params=params))

    def post(
        self, *path: str, json: Mapping[str, object], key: str | None = None, moves_money: bool = False
    ) -> Json:
        """Create or do something.

        :param key: sent as ``Idempotency-Key``.
        :raises Refused: Dodo said no; :class:`NotFound` for 404, :class:`Conflict` for 409.
        :raises Temporary: nothing was done; later it may be.   :raises Permanent: the key is not accepted.
        :raises OutcomeUnknown: the call may have moved money and no usable answer came.
        """
        answer = self._http.post(*path, json=json, idempotency_key=key, moves_money=moves_money)
        return self._object(answer)

    def pages(self, *path: str, params: Params | None = None) -> Iterator[Json]:
        """Iterate over a list, page by page (Dodo counts from 0), newest first.

        :raises Temporary: the list does not end; whoever looks something up must not take that for "not there".
        """
        for number in range(MOST_PAGES):
            rows = self.page(*path, params=params, number=number)
            yield from rows
            if len(rows) < PAGE:
                return
        raise Temporary(f"Dodo lists more than {MOST_PAGES * PAGE} {path[0]}; narrow the time")

    def page(self, *path: str, params: Params | None = None, number: int) -> list[Json]:
        """Read one page of a list, counted from 0; one that is not full is the last."""
        page = self.get(*path, params={**(params or {}), "page_size": PAGE, "page_number": number})
        with readable(f"the list of {path[0]}"):
            return list(records(page, "items"))

    def _object(self, answer: ApiResponse) -> Json:
        if not answer.ok:
            raise self._refusal(answer)
        with readable("the answer", money=answer.moved_money):
            return parsed(answer.body)

    def _refusal(self, answer: ApiResponse) -> Exception:
        code, message = _code_and_message(answer)
        text = f"Dodo refused ({code}): {_FIXES.get(code) or message}"
        match answer.status:
            case 401 | 403:
                return Permanent(
                    f"Dodo does not accept the API key for this call ({code}). Check {self._variable}: it needs read "
                    f"and write access and must belong to the {self._mode} mode",
                    request_id=answer.request_id,
                )
            case _ if code in _IN_FLIGHT:
                return Temporary(_IN_FLIGHT[code], retry_after=IN_FLIGHT_PAUSE, request_id=answer.request_id)
            case 404:
                return NotFound(text, code=code)
            case 409:
                return Conflict(text, code=code)
            case _:
                return Refused(text, code=code)


def connect(context: ConnectionContext) -> DodoApi:
    """Return the API of one connection; calls nobody."""
    config = context.config(DodoConfig)
    http = context.http(
        name="dodo",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {config.api_key.get_secret_value()}"},
        secrets=secrets_of(config),
    )
    return DodoApi(http, connection=context.name, mode=config.mode)


@contextmanager
def readable(what: str, *, money: bool = False) -> Iterator[None]:
    """Turn "cannot be read" inside into what the caller of an API must do: look first when money may have moved."""
    try:
        yield
    except PayloadInvalid as exc:
        error = OutcomeUnknown if money else Permanent
        raise error(f"Dodo: {what} cannot be used: {exc}") from exc


def _code_and_message(answer: ApiResponse) -> tuple[str, str]:
    try:
        body = parsed(answer.body)
    except PayloadInvalid:
        body = {}
    code, message = body.get("code"), body.get("message")
    if not isinstance(code, str) or not code:
        code = f"HTTP_{answer.status}"
    if not isinstance(message, str) or not message:
        message = f"it gave no reason (status {answer.status})"
    # Dodo's sentences can quote what was sent; an address is personal.
    return code[:80], _ADDRESS.sub("…", message)[:300]
