"""Calls to a provider's JSON API.

An answer the caller has to look at (2xx, and the 4xx that say no) is an :class:`ApiResponse`. Everything else is
raised as what the caller must do next:

=============================================  ==================================================================
no connection (DNS, refused, TLS, pool full)   ``Temporary``: the call never left
429; 503 that says when to come back           ``Temporary`` with ``retry_after``: nothing was done
no or half an answer, 408, 425, any other 5xx  ``Temporary``; ``OutcomeUnknown`` when the call said ``moves_money``
3xx                                            ``Permanent``: redirects are never followed
=============================================  ==================================================================
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache, partial
from json import dumps, loads
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlsplit

import httpx

from billhook import __version__
from billhook.clock import SystemClock, monotonic
from billhook.errors import OutcomeUnknown, Permanent, ProviderError, Temporary

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("billhook.http")

Params = Mapping[str, str | int | Sequence[str]]
"""Query parameters; a sequence repeats its name."""

MEBIBYTE: Final = 1024 * 1024
LONGEST_WAIT: Final = timedelta(days=1)
"""A provider that asks us to wait longer is asked again after this."""

_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "cf-ray")
_CREDENTIAL_HEADERS = frozenset({"authorization", "x-api-key"})
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_ERROR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")  # a code, never a sentence that could quote a customer


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait: to get a connection, between two parts of the answer, and for the whole body of it."""

    connect: float = 5.0
    read: float = 20.0
    body: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """A provider's answer, read to its end. ``headers`` have lower-case names.

    ``request_id`` is the provider's own id of the call, where it gave one. ``moved_money`` says that the call was
    made with ``moves_money``, so an answer that cannot be read leaves its outcome open.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    request_id: str | None = None
    moved_money: bool = False

    @property
    def ok(self) -> bool:
        """Whether the provider did what was asked (2xx)."""
        return 200 <= self.status < 300

    def json(self) -> object:
        """Return the parsed body.

        :raises Permanent: it is not JSON: most likely the base URL is not that of the API.
        :raises OutcomeUnknown: the same, after a call that may have moved money.
        """
        try:
            parsed: object = loads(self.body)
        except (ValueError, RecursionError):
            error = OutcomeUnknown if self.moved_money and self.ok else Permanent
            message = f"the answer (status {self.status}, {len(self.body)} bytes) is not JSON; check the API's base URL"
            raise error(message, request_id=self.request_id) from None
        return parsed


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every secret of four characters or more replaced by ``***``."""
    for secret in sorted(secrets, key=len, reverse=True):  # the longest first: one may begin with another
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return text


@dataclass(frozen=True, slots=True)
class _Call:
    """What may be said about a call in a log line or an error: no query, no header, no body."""

    text: str
    moves_money: bool

    def lost(
        self, what: str, *, retry_after: timedelta | None = None, request_id: str | None = None
    ) -> ProviderError:
        """Return the error for a call that went out and brought no usable answer back."""
        if self.moves_money:
            return OutcomeUnknown(f"{self.text} {what}; it may have been carried out", request_id=request_id)
        return Temporary(f"{self.text} {what}", retry_after=retry_after, request_id=request_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Older:
    """The headers with the credential that is being replaced, and who is told when it was needed."""

    headers: Mapping[str, str] = field(repr=False)
    told: Callable[[], None]


class ApiClient:
    """One provider's API: pooled connections, explicit time-outs, quoted paths, typed outcomes, no secret in a text.

    Path segments are given one by one and quoted on their own, so ``client.get("invoices", ref)`` stays inside
    ``/invoices/`` whatever ``ref`` holds. Threads may share a client. Close it, or use it in a ``with``.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        timeouts: Timeouts | None = None,
        app: WSGIApplication | None = None,
        max_body: int = 16 * MEBIBYTE,
        now: Callable[[], datetime] | None = None,
        on_answer: Callable[[ApiResponse], None] | None = None,
    ) -> None:
        """Prepare calls to ``base_url``, which may end in a path such as ``/api/v1``.

        :param name: how errors and logs call the provider.
        :param headers: sent with every call; what an Authorization header holds is treated as a secret.
        :param secrets: more texts that must never show.
        :param app: answers every call in this process instead of the network: a sandbox, in tests and the demo. An
            exception it raises comes through as it is.
        :param max_body: the longest answer read, in bytes.
        :param now: tells the time when a provider says "not before" as a date; None: the machine's clock.
        :param on_answer: is shown every answer, also those that are raised as errors.
        :raises ValueError: the URL or a header cannot be used; the message shows neither.
        """
        self._name = name
        self._origin, self._prefix = _base(base_url)
        self._headers = _checked_headers(headers or {})
        hidden = (*secrets, *_credentials(self._headers))
        self._secrets = (*hidden, *(_segment(secret) for secret in hidden))  # also as a path would show them
        self._timeouts = timeouts or Timeouts()
        self._max_body = max_body
        self._now = now or SystemClock().now
        self._on_answer = on_answer
        self._transport = _transport(app)
        self._older: _Older | None = None

    def fall_back(self, headers: Mapping[str, str], *, told: Callable[[], None]) -> None:
        """While a credential is rotated: repeat what is answered 401 once with ``headers``, which hold the older one.

        A 401 says that nothing was done, so the repetition is safe for every call.

        :param told: called each time the older credential was accepted where the new one was not.
        :raises ValueError: a header cannot be used; the message does not show it.
        """
        self._older = _Older(headers=_checked_headers(headers), told=told)
        hidden = _credentials(self._older.headers)
        self._secrets = (*self._secrets, *hidden, *(_segment(secret) for secret in hidden))

    def __repr__(self) -> str:
        return f"<ApiClient {self._name} at {urlsplit(self._origin).netloc}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def get(self, *path: str, params: Params | None = None) -> ApiResponse:
        """Read. See the module for what is returned and what is raised."""
        return self._send("GET", path, params=params)

    def post(
        self,
        *path: str,
        params: Params | None = None,
        json: object = None,
        idempotency_key: str | None = None,
        moves_money: bool = False,
    ) -> ApiResponse:
        """Create or do something. ``json=None`` sends no body.

        :param moves_money: money may have moved once this has left: without an answer the outcome is unknown.
        """
        return self._send(
            "POST", path, params=params, json=json, idempotency_key=idempotency_key, moves_money=moves_money
        )

    def put(
        self,
        *path: str,
        params: Params | None = None,
        json: object = None,
        idempotency_key: str | None = None,
    ) -> ApiResponse:
        """Set a state. Repeating it ends in the same one, so no answer is ``Temporary``."""
        return self._send("PUT", path, params=params, json=json, idempotency_key=idempotency_key)

    def patch(
        self,
        *path: str,
        params: Params | None = None,
        json: object = None,
        idempotency_key: str | None = None,
        moves_money: bool = False,
    ) -> ApiResponse:
        """Change a part. As :meth:`post`."""
        return self._send(
            "PATCH", path, params=params, json=json, idempotency_key=idempotency_key, moves_money=moves_money
        )

    def delete(
        self,
        *path: str,
        params: Params | None = None,
        json: object = None,
        idempotency_key: str | None = None,
    ) -> ApiResponse:
        """Remove or end something. Repeating it ends in the same state, so no answer is ``Temporary``."""
        return self._send("DELETE", path, params=params, json=json, idempotency_key=idempotency_key)

    def send(
        self,
        method: str,
        *path: str,
        params: Params | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        moves_money: bool = False,
    ) -> ApiResponse:
        """Send a body that is not JSON, with headers of its own: how a provider's own library calls through here."""
        return self._send(
            method, path, params=params, content=content, headers=headers, moves_money=moves_money
        )

    def _send(
        self,
        method: str,
        path: Sequence[str],
        *,
        params: Params | None = None,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        moves_money: bool = False,
    ) -> ApiResponse:
        target = self._prefix + _quoted(path)
        call = _Call(redact(f"{self._name}: {method} {target}", self._secrets), moves_money)
        own = dict(headers or {})
        if idempotency_key is not None:
            own["Idempotency-Key"] = idempotency_key
        if json is not None:
            own["Content-Type"] = "application/json"
            content = dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        build = partial(self._request, method, target, params, content, own)
        started, status = monotonic(), "no answer"
        try:
            response = self._answered(call, build)
            status = str(response.status)
            if self._on_answer is not None:
                self._on_answer(response)
        finally:
            log.debug("http.call %s status=%s ms=%d", call.text, status, (monotonic() - started) * 1000)
        return self._judged(call, response)

    def _answered(self, call: _Call, build: Callable[[Mapping[str, str]], httpx.Request]) -> ApiResponse:
        response = self._exchange(call, build(self._headers))
        older = self._older
        if response.status != 401 or older is None:
            return response
        again = self._exchange(call, build(older.headers))
        if again.status != 401:
            older.told()
        return again

    def _request(
        self, method: str, target: str, params: Params | None, content: bytes | None, own: Mapping[str, str],
        credentials: Mapping[str, str],
    ) -> httpx.Request:  # fmt: skip
        headers = httpx.Headers({"Accept": "application/json", "User-Agent": f"billhook/{__version__}"})
        headers.update(credentials)
        headers.update(_checked_headers(own))
        query = f"?{httpx.QueryParams(params)}" if params else ""
        url = httpx.URL(self._origin).copy_with(raw_path=(target + query).encode("ascii"))
        wait = httpx.Timeout(self._timeouts.read, connect=self._timeouts.connect, pool=self._timeouts.connect)
        return httpx.Request(
            method, url, headers=headers, content=content, extensions={"timeout": wait.as_dict()}
        )

    def _exchange(self, call: _Call, request: httpx.Request) -> ApiResponse:
        # `from None` on purpose: the library's own exceptions can quote a header or a URL with its query.
        try:
            response = self._transport.handle_request(request)
            try:
                body = self._read(call, response)
            finally:
                response.close()
        except _NEVER_LEFT as exc:
            raise Temporary(f"{call.text} could not connect: {self._detail(exc)}") from None
        except httpx.TimeoutException:
            raise call.lost("was not answered in time") from None
        except httpx.HTTPError as exc:
            raise call.lost(f"was not answered: {self._detail(exc)}") from None
        headers = dict(response.headers)
        return ApiResponse(
            status=response.status_code,
            headers=headers,
            body=body,
            request_id=_request_id(headers, self._secrets),
            moved_money=call.moves_money,
        )

    def _read(self, call: _Call, response: httpx.Response) -> bytes:
        body = bytearray()
        latest = monotonic() + self._timeouts.body
        for part in response.iter_bytes():
            body += part
            if len(body) > self._max_body:
                raise call.lost(f"was answered with more than {self._max_body} bytes")
            if monotonic() > latest:
                raise call.lost("was answered too slowly")
        return bytes(body)

    def _judged(self, call: _Call, response: ApiResponse) -> ApiResponse:
        what = f"was answered {response.status}{_provider_code(response.body, self._secrets)}"
        pause, request_id = retry_after(response.headers, self._now), response.request_id
        match response.status:
            case status if 200 <= status < 300:
                return response
            case 429:
                raise Temporary(f"{call.text} {what}", retry_after=pause, request_id=request_id)
            case 503 if "retry-after" in response.headers:
                raise Temporary(f"{call.text} {what}", retry_after=pause, request_id=request_id)
            case 408 | 425:
                raise call.lost(what, retry_after=pause, request_id=request_id)
            case status if 400 <= status < 500:
                return response
            case status if 300 <= status < 400:
                to = redact(_host(response.headers.get("location", "")), self._secrets)
                raise Permanent(
                    f"{call.text} {what}, a redirect to {to}; check the base URL", request_id=request_id
                )
            case _:
                raise call.lost(what, retry_after=pause, request_id=request_id)

    def _detail(self, exc: Exception) -> str:
        return redact(str(exc) or type(exc).__name__, self._secrets)


def _transport(app: WSGIApplication | None) -> httpx.BaseTransport:
    # The bare transport, not the library's client: that one logs every URL with its query, keeps the cookies it is
    # given and obeys proxy variables.
    if app is not None:
        return httpx.WSGITransport(_with_wsgi_path(app))
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=5.0)
    return httpx.HTTPTransport(verify=tls(), limits=limits, retries=0)


@cache
def tls() -> ssl.SSLContext:
    """Return the one context all clients share: loading the authorities takes a tenth of a second.

    SSL_CERT_FILE and SSL_CERT_DIR are obeyed, for a self-hosted API behind its own certificate authority.
    """
    return httpx.create_ssl_context(trust_env=True)


def _with_wsgi_path(app: WSGIApplication) -> WSGIApplication:
    """Give ``app`` the path as WSGI (PEP 3333) wants it, bytes shown as Latin-1; the library hands over text."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = environ["PATH_INFO"].encode().decode("latin-1")
        return app(environ, start_response)

    return answer


def _base(url: str) -> tuple[str, str]:
    """Return origin and path prefix. The URL is not shown when it is refused: it may hold a password."""
    unusable = ValueError("a base URL is http:// or https:// and a host, such as https://api.example.com/v1")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a port that is no number, half an IPv6 address
        raise unusable from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise unusable
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a base URL holds no user, password, query or fragment")
    prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    return f"{parts.scheme}://{parts.netloc}", prefix


def _quoted(path: Sequence[str]) -> str:
    if not path or not all(path):
        raise ValueError("a path segment is empty: the call would reach another resource")
    return "".join(f"/{_segment(text)}" for text in path)


def _segment(text: str) -> str:
    # A dot is quoted too, or "." and ".." would be resolved on the way.
    return quote(text, safe="").replace(".", "%2E")


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                f"the value of header {name} must be visible ASCII, with no line break or space at an end"
            )
    return dict(headers)


def _credentials(headers: Mapping[str, str]) -> list[str]:
    """Return the last word of what authorises a call: the token after ``Bearer``."""
    return [value.split()[-1] for name, value in headers.items() if name.lower() in _CREDENTIAL_HEADERS]


def _request_id(headers: Mapping[str, str], secrets: Iterable[str]) -> str | None:
    given = (headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name))
    return next((redact(value, secrets)[:128] for value in given), None)


def _provider_code(body: bytes, secrets: Iterable[str]) -> str:
    """Return `` (code)`` when the error body is a JSON object that names one under ``code`` or ``error``."""
    try:
        parsed = loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(parsed, dict) and isinstance(parsed.get("error"), dict):
        parsed = parsed["error"]  # some keep the code one level down
    named = [parsed.get("code"), parsed.get("error")] if isinstance(parsed, dict) else []
    codes = [code for code in named if isinstance(code, str) and _ERROR_CODE.fullmatch(code)]
    return f" ({redact(codes[0], secrets)})" if codes else ""


def retry_after(headers: Mapping[str, str], now: Callable[[], datetime]) -> timedelta | None:
    """Return how long the provider asks us to wait, at most a day, or None when it does not say.

    ``Retry-After`` holds seconds or a date. ``X-RateLimit-Reset`` holds seconds, too; a number that can
    only be a Unix time is read as one.
    """
    given = headers.get("retry-after") or headers.get("x-ratelimit-reset")
    if given is None:
        return None
    if re.fullmatch(r"[0-9]{1,10}", given):
        seconds = int(given)
        wait = (
            timedelta(seconds=seconds)
            if seconds < 1_000_000_000
            else datetime.fromtimestamp(seconds, UTC) - now()
        )
    else:
        try:
            instant = parsedate_to_datetime(given)
            wait = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - now()
        except (ValueError, OverflowError):
            return None
    return min(max(wait, timedelta(0)), LONGEST_WAIT)


def _host(location: str) -> str:
    try:
        return urlsplit(location).hostname or "the same host"
    except ValueError:
        return "an unreadable address"
