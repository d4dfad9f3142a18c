"""Calls to Stripe by its own SDK, over the host's HTTP: the host's time-outs, pools and redaction hold here too.

The SDK is used as a library of typed requests and errors; :class:`HostTransport` takes the place of its HTTP client. So
nothing of it is global (:class:`stripe.StripeClient`), nothing is repeated (no network retries), no proxy variable is
obeyed, and no telemetry is sent. What the host's HTTP already says by an exception (429, 5xx, no answer) passes through
the SDK as it is; what Stripe refuses becomes a typed error in :func:`answers`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import stripe

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
from billhook.http import ApiClient

from .config import StripeConfig
from .payloads import Json

# What the SDK has no argument for. Telemetry writes an id to the home folder; its log holds whole bodies, with names,
# addresses and client secrets, where the host's HTTP logs each call without.
stripe.enable_telemetry = False
logging.getLogger("stripe").setLevel(logging.CRITICAL)

API_VERSION: Final = "2026-10-28.endive"
"""The version this plugin speaks, whatever version the SDK that is installed was made for."""
PAGE: Final = 100
"""The largest page Stripe serves."""
MOST_PAGES: Final = 50

_PASSED_ON = ("Content-Type", "Idempotency-Key", "Stripe-Version", "Stripe-Account")
_MOVES_MONEY = re.compile(r".*/v1/(?:payment_intents(?:/[^/]+/(?:confirm|capture))?|refunds)")
_ADDRESS = re.compile(r"\S+@\S+")
_FIXES = {
    "amount_too_small": "add it to the next invoice or collect it another way",
    "amount_too_large": "split the invoice",
    "charge_disputed": "the bank has taken this payment back already",
    "charge_already_refunded": "nothing of this payment is left to refund",
    "idempotency_error": "an earlier request with this key asked for something else; look at the payment in Stripe",
}


def keyed(key: str) -> stripe.RequestOptions:
    """Return the options that carry our key: Stripe answers a repetition within 24 hours with the first answer."""
    return {"idempotency_key": key}


class HostTransport(stripe.HTTPClient):
    """Lets the SDK's calls out through the host's HTTP client."""

    name = "billhook"

    def __init__(self, http: ApiClient, *, base_url: str) -> None:
        super().__init__()
        self._http = http
        self._base = base_url

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Send one request; raises what :class:`billhook.http.ApiClient` raises."""
        parts = urlsplit(url.removeprefix(self._base))
        content = post_data.encode() if isinstance(post_data, str) else post_data
        given = headers or {}
        answer = self._http.send(
            method.upper(),
            *(unquote(part) for part in parts.path.strip("/").split("/")),
            params=parse_qs(parts.query, keep_blank_values=True) or None,
            content=content,
            headers={name: given[name] for name in _PASSED_ON if name in given},
            moves_money=method.upper() == "POST" and _MOVES_MONEY.fullmatch(parts.path) is not None,
        )
        return answer.body.decode("utf-8", "replace"), answer.status, answer.headers

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class StripeApi:
    """Stripe for one connection. ``v1`` holds the SDK's services; what they return, :func:`plain` makes a dictionary."""

    def __init__(self, client: stripe.StripeClient, *, connection: str) -> None:
        self.v1 = client.v1
        self.v2 = client.v2
        self._variable = f"{prefix_of(connection)}_API_KEY"

    @contextmanager
    def answers(self, *, money: bool = False) -> Iterator[None]:
        """Turn the SDK's errors inside into ours; a declined card (:class:`stripe.CardError`) comes through.

        :param money: the call may have moved money, so an answer that cannot be used leaves the outcome open.
        :raises Refused: Stripe said no; :class:`NotFound` for what is not there, :class:`Conflict` for a reused key.
        :raises Permanent: the key is not accepted.   :raises Temporary: nothing was done; later it may be.
        """
        try:
            yield
        except stripe.CardError:
            raise
        except stripe.StripeError as exc:
            raise self._error(exc, money=money) from None  # its own text can hold the whole body

    def _error(self, exc: stripe.StripeError, *, money: bool) -> Exception:
        code = _code(exc)
        said = _ADDRESS.sub("…", exc.user_message or "it gave no reason")[:300]
        message = f"Stripe refused ({code}): {_FIXES.get(code) or said}"
        request_id = exc.request_id
        match exc:
            case stripe.AuthenticationError() | stripe.PermissionError():
                what = f"Stripe does not accept the API key for this call ({code}). Check {self._variable}"
                return Permanent(f"{what}: its mode and what it may do", request_id=request_id)
            case stripe.RateLimitError():
                return Temporary(message, request_id=request_id)
            case stripe.IdempotencyError():
                return Conflict(message, code=code)
            case stripe.InvalidRequestError() if exc.http_status == 404 or code == "resource_missing":
                return NotFound(message, code=code)
            case stripe.InvalidRequestError():
                return Refused(message, code=code, field=exc.param)
            case _ if exc.http_status == 409:
                return Temporary("Stripe is still busy with a call of the same key", request_id=request_id)
            case _:
                error = OutcomeUnknown if money else Temporary
                return error(f"Stripe's answer cannot be used ({code})", request_id=request_id)


def connect(context: ConnectionContext) -> StripeApi:
    """Return the API of one connection; calls nobody."""
    config = context.config(StripeConfig)
    key = config.api_key.get_secret_value()
    http = context.http(
        name="stripe",
        base_url=config.api_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=secrets_of(config),
    )
    client = stripe.StripeClient(
        key,
        base_addresses={"api": config.api_url},
        http_client=HostTransport(http, base_url=config.api_url),
        max_network_retries=0,
        stripe_version=API_VERSION,
    )
    return StripeApi(client, connection=context.name)


def plain(thing: stripe.StripeObject) -> Json:
    """Return an SDK object as a plain dictionary, the way webhooks hold it."""
    return thing.to_dict()


@contextmanager
def readable(what: str, *, money: bool = False) -> Iterator[None]:
    """Turn "cannot be read" inside into what the caller of an API must do: look first when money may have moved."""
    try:
        yield
    except PayloadInvalid as exc:
        error = OutcomeUnknown if money else Permanent
        raise error(f"Stripe: {what} cannot be used: {exc}") from exc


def _code(exc: stripe.StripeError) -> str:
    """Return Stripe's word for an error: its code, else its kind, else the HTTP status."""
    body = exc.json_body
    error = body.get("error") if isinstance(body, dict) else None
    named = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    code = next(
        (each for each in (exc.code, *named) if isinstance(each, str) and each), f"HTTP {exc.http_status}"
    )
    return code[:80]
