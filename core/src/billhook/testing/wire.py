"""A recorder between a client and a provider's sandbox: what went over the wire, and faults on request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from billhook.testing.sandbox import FaultKind

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ANSWERS = {
    FaultKind.ERROR: "500 Internal Server Error",
    FaultKind.UNAVAILABLE: "503 Service Unavailable",
    FaultKind.RATE_LIMITED: "429 Too Many Requests",
    FaultKind.LOST_ANSWER: "504 Gateway Timeout",
}
_DONE_ALL_THE_SAME = frozenset({FaultKind.LOST_ANSWER})


@dataclass(frozen=True, slots=True, kw_only=True)
class WireCall:
    """One request as it left. Header names are lower-case. ``money``: it could move money (or double a document)."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    money: bool = False

    def carries(self, key: str) -> bool:
        """Tell whether our key is on it: as a header or somewhere in the body."""
        return key in self.headers.values() or key.encode() in self.body


def every_post(call: WireCall) -> bool:
    """The usual meaning of "could move money": any POST."""
    return call.method == "POST"


class Wire:
    """A WSGI app around a sandbox that keeps every call and lets the next one that could move money go wrong.

    ``moves_money`` tells which calls those are: give your own when the provider also takes harmless POSTs.
    """

    def __init__(self, app: WSGIApplication, *, moves_money: Callable[[WireCall], bool] = every_post) -> None:
        self._app = app
        self._moves_money = moves_money
        self._faults: list[FaultKind] = []
        self.calls: list[WireCall] = []

    def fail_next(self, kind: FaultKind) -> None:
        """Let the next call that could move money go wrong in this way.

        :raises ValueError: a slow answer cannot be played in process.
        """
        if kind not in _ANSWERS:
            raise ValueError(f"{kind} cannot be played here; use one of {', '.join(_ANSWERS)}")
        self._faults.append(kind)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        call = _call_of(environ)
        money = self._moves_money(call)
        self.calls.append(
            WireCall(method=call.method, path=call.path, headers=call.headers, body=call.body, money=money)
        )
        environ["wsgi.input"] = BytesIO(call.body)
        if not money or not self._faults:
            return self._app(environ, start_response)
        fault = self._faults.pop(0)
        if fault in _DONE_ALL_THE_SAME:
            self._do(environ)
        start_response(_ANSWERS[fault], [("Content-Type", "text/plain"), ("Retry-After", "7")])
        return [b"played by the test"]

    def _do(self, environ: WSGIEnvironment) -> None:
        answer = self._app(environ, lambda *_: lambda _: None)
        try:
            for _ in answer:
                pass
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()


def _call_of(environ: WSGIEnvironment) -> WireCall:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
    }
    return WireCall(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        headers=headers,
        body=environ["wsgi.input"].read(length) if length else b"",
    )
