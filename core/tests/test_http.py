"""ApiClient over real sockets: what goes on the wire, what every outcome is called, and what never shows."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from billhook.clock import monotonic
from billhook.errors import OutcomeUnknown, Permanent, ProviderError, Temporary
from billhook.http import ApiClient, ApiResponse, Timeouts, redact

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

KEY = "sk_test_4242424242"
NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
SHORT = Timeouts(connect=0.2, read=0.2, body=0.4)
Step = bytes | float
"""What a server does next: send these bytes, or stay silent for so many seconds."""


class Wire:
    """A server that keeps every request as it came and answers by a script, then hangs up."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.steps: tuple[Step, ...] = (answer(200, b"{}"),)
        self._tls = tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def request_line(self) -> str:
        return self.requests[-1].split(b"\r\n")[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.requests[-1].split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        return self.requests[-1].split(b"\r\n\r\n", 1)[1]

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(2)
                try:
                    self._converse(connection)
                except OSError:  # the client hung up, as many of these tests want
                    continue

    def _converse(self, connection: socket.socket) -> None:
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True)
        self.requests.append(read_request(connection))
        for step in self.steps:
            if isinstance(step, bytes):
                connection.sendall(step)
            else:
                self._over.wait(step)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0:
        part = connection.recv(65536)
        data, missing = data + part, missing - len(part)
    return data


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def wire() -> Iterator[Wire]:
    server = Wire()
    yield server
    server.close()


@pytest.fixture
def client(wire: Wire) -> Iterator[ApiClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with ApiClient(name="acme", base_url=wire.url, headers=headers, timeouts=SHORT, now=lambda: NOW) as made:
        yield made


Ask = Callable[[ApiClient], ApiResponse]
PLAIN: dict[str, Ask] = {
    "get": lambda client: client.get("payments"),
    "put": lambda client: client.put("payments", json={}),
    "delete": lambda client: client.delete("payments"),
    "post": lambda client: client.post("payments", json={}),
    "patch": lambda client: client.patch("payments", json={}),
}
MONEY: dict[str, Ask] = {
    "post-money": lambda client: client.post("payments", json={}, moves_money=True),
    "patch-money": lambda client: client.patch("payments", json={}, moves_money=True),
}
get, post_money = PLAIN["get"], MONEY["post-money"]


def every(asks: dict[str, Ask]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("ask", asks.values(), ids=asks.keys())


def failure(ask: Ask, client: ApiClient) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(client)
    return caught.value


# --- what goes on the wire ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segments", "target"),
    [
        (("invoices", "42"), "/invoices/42"),
        (("invoices", "../invoices/1"), "/invoices/%2E%2E%2Finvoices%2F1"),
        (("invoices", "..", "x"), "/invoices/%2E%2E/x"),
        (("invoices", "."), "/invoices/%2E"),
        (("invoices", "a/b?x=1"), "/invoices/a%2Fb%3Fx%3D1"),
        (("invoices", "a#b;c&d"), "/invoices/a%23b%3Bc%26d"),
        (("invoices", "50%2F"), "/invoices/50%252F"),
        (("invoices", "a b\r\nX: 1"), "/invoices/a%20b%0D%0AX%3A%201"),
        (("invoices", "é✓"), "/invoices/%C3%A9%E2%9C%93"),
        (("v1.2", "x"), "/v1%2E2/x"),
    ],
)
def test_a_path_segment_never_leaves_its_place(
    client: ApiClient, wire: Wire, segments: tuple[str, ...], target: str
) -> None:
    client.get(*segments)

    assert wire.request_line == f"GET {target} HTTP/1.1"


@pytest.mark.parametrize("base", ["", "/", "/api/v1", "/api/v1/"])
def test_the_base_url_may_have_a_path_and_a_slash_at_its_end(wire: Wire, base: str) -> None:
    with ApiClient(name="acme", base_url=wire.url + base) as client:
        client.get("customers", "c/1", params={"page": 2, "status[]": ["a", "b c"]})

    path = base.rstrip("/") + "/customers/c%2F1"
    assert wire.request_line == f"GET {path}?page=2&status%5B%5D=a&status%5B%5D=b+c HTTP/1.1"


@pytest.mark.parametrize("segments", [(), ("customers", ""), ("", "customers")])
def test_an_empty_segment_is_refused_because_it_names_another_resource(
    client: ApiClient, wire: Wire, segments: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="empty"):
        client.delete(*segments)
    assert wire.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com",
        "ftp://x",
        "https://",
        "https://me:pw@x",
        "https://x/?key=pw",
        "https://x/#pw",
        "https://x:pw",
        "http://[",
    ],
)
def test_an_unusable_base_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="base URL") as caught:
        ApiClient(name="acme", base_url=url)
    assert "pw" not in str(caught.value).replace("password", "")


def test_a_call_carries_the_headers_and_the_idempotency_key(client: ApiClient, wire: Wire) -> None:
    client.post("payments", json={"a": None, "name": "Zoë"}, idempotency_key="lago-inv-1")

    assert wire.request_line == "POST /payments HTTP/1.1"
    assert wire.body.decode() == '{"a":null,"name":"Zoë"}'
    expected = {
        "host": wire.url.removeprefix("http://"),
        "authorization": f"Bearer {KEY}",
        "idempotency-key": "lago-inv-1",
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": "billhook/0.1.0",
    }
    assert expected.items() <= wire.headers.items()


def test_no_json_is_no_body(client: ApiClient, wire: Wire) -> None:
    client.post("payments", "1", "void")

    assert wire.body == b""
    assert "content-type" not in wire.headers


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_every_method_is_sent_as_itself(client: ApiClient, wire: Wire, method: str) -> None:
    assert getattr(client, method)("things").ok
    assert wire.request_line == f"{method.upper()} /things HTTP/1.1"


def test_a_body_of_another_kind_is_sent_as_it_is_with_its_own_headers(client: ApiClient, wire: Wire) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": "k-1"}
    client.send("POST", "v1", "things", params={"a[]": ["1", "2"]}, content=b"x=1&y=2", headers=form)
    assert wire.request_line.startswith("POST /v1/things?a%5B%5D=1&a%5B%5D=2 ")
    assert wire.body == b"x=1&y=2"
    assert (wire.headers["content-type"], wire.headers["idempotency-key"]) == (form["Content-Type"], "k-1")


def test_a_body_of_another_kind_that_moves_money_has_an_unknown_outcome_too(
    client: ApiClient, wire: Wire
) -> None:
    wire.steps = (answer(500),)
    with pytest.raises(OutcomeUnknown):
        client.send("POST", "charges", content=b"x=1", moves_money=True)
    with pytest.raises(ValueError, match="header"):
        client.send("POST", "charges", content=b"x=1", headers={"Api-Version": "a\nb"})


def test_a_header_of_the_connection_replaces_ours(wire: Wire) -> None:
    with ApiClient(name="acme", base_url=wire.url, headers={"accept": "application/vnd.acme+json"}) as client:
        client.get("x")

    assert wire.requests[0].lower().count(b"\r\naccept:") == 1
    assert wire.headers["accept"] == "application/vnd.acme+json"


@pytest.mark.parametrize("value", [f"Bearer {KEY}\nX: 1", "", " a", "ä"])
def test_an_unusable_header_value_is_refused_and_not_shown(client: ApiClient, wire: Wire, value: str) -> None:
    with pytest.raises(ValueError, match="header Authorization must be visible ASCII") as caught:
        ApiClient(name="acme", base_url="https://x", headers={"Authorization": value})
    assert KEY not in str(caught.value)
    with pytest.raises(ValueError, match="header Idempotency-Key"):
        client.post("payments", idempotency_key=value)
    assert wire.requests == []


def test_proxy_variables_of_the_environment_are_not_obeyed(
    client: ApiClient, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with ApiClient(name="acme", base_url=wire.url) as fresh:
        assert fresh.get("x").ok


def test_cookies_are_not_kept(client: ApiClient, wire: Wire) -> None:
    wire.steps = (answer(200, b"{}", Set_Cookie="session=abc; Path=/"),)
    client.get("x")
    client.get("x")

    assert "cookie" not in wire.headers


def test_connections_are_pooled(wire: Wire) -> None:
    kept_open = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    wire.steps = (kept_open, 0.1, kept_open, 0.1)
    with ApiClient(name="acme", base_url=wire.url, timeouts=SHORT) as client:
        assert [client.get("x").body, client.get("x").body] == [b"{}", b"{}"]

    assert len(wire.requests) == 1  # the second was answered on the first one's connection


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 400, 401, 402, 403, 404, 409, 422])
def test_an_answer_the_caller_must_judge_is_returned(client: ApiClient, wire: Wire, status: int) -> None:
    wire.steps = (answer(status, b"" if status == 204 else b'{"a":1}', X_Request_Id="req_1", X_Thing="T"),)

    response = client.post("payments", json={}, moves_money=True)

    assert (response.status, response.ok) == (status, status < 300)
    assert (response.request_id, response.headers["x-thing"]) == ("req_1", "T")
    assert status == 204 or response.json() == {"a": 1}


@pytest.mark.parametrize("header", ["X-Request-Id", "Request-Id", "CF-Ray"])
def test_the_providers_request_id_is_kept_on_answers_and_errors(
    client: ApiClient, wire: Wire, header: str
) -> None:
    wire.steps = (answer(200, b"", **{header: "req_7"}),)
    assert client.get("x").request_id == "req_7"

    wire.steps = (answer(500, b"", **{header: "req_8"}),)
    error = failure(lambda client: client.get("x"), client)
    assert error.request_id == "req_8"
    assert str(error) == "acme: GET /x was answered 500 (request req_8)"


@pytest.mark.parametrize("body", [b"", b"<html>hello pw</html>", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_not_json_says_so_without_quoting_it(body: bytes) -> None:
    with pytest.raises(Permanent, match=rf"status 200, {len(body)} bytes\) is not JSON") as caught:
        ApiResponse(status=200, headers={}, body=body, request_id="req_1").json()
    assert "pw" not in str(caught.value)
    assert caught.value.request_id == "req_1"


def test_an_unreadable_success_of_a_call_that_moves_money_leaves_the_outcome_open(
    client: ApiClient, wire: Wire
) -> None:
    wire.steps = (answer(200, b"<html>"),)

    with pytest.raises(OutcomeUnknown):
        client.post("payments", json={}, moves_money=True).json()
    with pytest.raises(Permanent):
        client.post("payments", json={}).json()


def test_a_compressed_answer_is_read(client: ApiClient, wire: Wire) -> None:
    wire.steps = (answer(200, gzip.compress(b'{"a":1}'), Content_Encoding="gzip"),)

    assert client.get("x").json() == {"a": 1}


# --- outcomes -----------------------------------------------------------------------------------------------------

LOST: dict[str, tuple[Step, ...]] = {
    "no answer in time": (0.6,),
    "half an answer": (answer(200, b"{}")[:-1],),
    "half an answer, then silence": (answer(200, b"{}")[:-1], 0.6),
    "hung up": (),
    "not http": (b"ssh-2.0 hello\r\n\r\n",),
    "broken compression": (answer(200, b"nonsense", Content_Encoding="gzip"),),
    "drip": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"x", 0.15, b"x", 0.15, b"x", 0.15, b"x", 0.15),
    "500": (answer(500),),
    "502": (answer(502, b"<html>"),),
    "503": (answer(503),),
    "504": (answer(504),),
    "408": (answer(408),),
    "425": (answer(425),),
    "599": (answer(599),),
}


@pytest.mark.parametrize("steps", LOST.values(), ids=LOST.keys())
def test_without_an_answer_money_is_unknown_and_everything_else_is_tried_again(
    client: ApiClient, wire: Wire, steps: tuple[Step, ...]
) -> None:
    wire.steps = steps

    assert type(failure(get, client)) is Temporary
    assert type(failure(post_money, client)) is OutcomeUnknown


@every(PLAIN)
def test_only_a_call_that_moves_money_has_an_unknown_outcome(client: ApiClient, wire: Wire, ask: Ask) -> None:
    wire.steps = (answer(500),)

    assert type(failure(ask, client)) is Temporary


@every(MONEY)
def test_an_unknown_outcome_says_that_it_may_have_happened(client: ApiClient, wire: Wire, ask: Ask) -> None:
    wire.steps = (0.6,)
    started = monotonic()
    error = failure(ask, client)

    assert isinstance(error, OutcomeUnknown)
    assert "/payments was not answered in time; it may have been carried out" in str(error)
    assert monotonic() - started < 0.5


def test_an_answer_that_drips_is_given_up_before_its_end(client: ApiClient, wire: Wire) -> None:
    drips = [step for _ in range(8) for step in (b"x", 0.1)]
    wire.steps = (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", *drips)

    assert "was answered too slowly" in str(failure(get, client))


def test_a_body_over_the_limit_is_not_read_to_its_end(wire: Wire) -> None:
    wire.steps = (answer(200, bytes(4096)),)
    with ApiClient(name="acme", base_url=wire.url, max_body=1000) as client:
        assert "more than 1000 bytes" in str(failure(get, client))
        assert isinstance(failure(post_money, client), OutcomeUnknown)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@every({**PLAIN, **MONEY})
def test_a_refused_connection_is_temporary_even_for_money(ask: Ask) -> None:
    with ApiClient(name="acme", base_url=f"http://127.0.0.1:{closed_port()}") as client:
        error = failure(ask, client)

    assert type(error) is Temporary
    assert "could not connect" in str(error)


def test_a_certificate_that_cannot_be_trusted_is_temporary_even_for_money(tmp_path: Path) -> None:
    server = Wire(tls=self_signed(tmp_path))
    try:
        with ApiClient(name="acme", base_url=server.url, timeouts=Timeouts(connect=2)) as client:
            error = failure(post_money, client)
    finally:
        server.close()

    assert type(error) is Temporary
    assert "certificate verify failed" in str(error)
    assert server.requests == []


def self_signed(folder: Path) -> ssl.SSLContext:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(
            issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1
        )
        .not_valid_before(NOW - timedelta(days=3650))
        .not_valid_after(NOW + timedelta(days=3650))
        .sign(key, SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@every({"get": get, "post-money": post_money})
@pytest.mark.parametrize("status", [429, 503])
def test_a_call_turned_away_with_a_time_is_temporary_even_for_money(
    client: ApiClient, wire: Wire, ask: Ask, status: int
) -> None:
    wire.steps = (answer(status, b'{"code":"slow_down"}', Retry_After="7"),)
    error = failure(ask, client)

    assert isinstance(error, Temporary)
    assert error.retry_after == timedelta(seconds=7)
    assert f"was answered {status} (slow_down)" in str(error)


def test_rate_limiting_without_a_time_is_temporary_even_for_money(client: ApiClient, wire: Wire) -> None:
    wire.steps = (answer(429),)
    error = failure(post_money, client)

    assert isinstance(error, Temporary)
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "0"}, timedelta(0)),
        ({"Retry-After": "120"}, timedelta(minutes=2)),
        ({"Retry-After": "99999999"}, timedelta(days=1)),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, timedelta(seconds=90)),
        ({"Retry-After": format_datetime(NOW - timedelta(hours=1), usegmt=True)}, timedelta(0)),
        ({"Retry-After": format_datetime(NOW + timedelta(days=9), usegmt=True)}, timedelta(days=1)),
        ({"Retry-After": "Sat, 01 Aug 2026 12:00:30"}, timedelta(seconds=30)),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "999999999999"}, None),
        ({"X-RateLimit-Reset": "3"}, timedelta(seconds=3)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 20)}, timedelta(seconds=20)),
        ({"Retry-After": "1", "X-RateLimit-Reset": "30"}, timedelta(seconds=1)),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_in_every_form(
    client: ApiClient, wire: Wire, headers: dict[str, str], wait: timedelta | None
) -> None:
    wire.steps = (answer(429, b"", **headers),)
    error = failure(get, client)

    assert isinstance(error, Temporary)
    assert error.retry_after == wait


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_only_its_host_is_named(
    client: ApiClient, wire: Wire, status: int
) -> None:
    wire.steps = (answer(status, Location="https://login.example.com/secret/path?token=abc"),)
    error = failure(post_money, client)

    assert type(error) is Permanent
    assert "a redirect to login.example.com; check the base URL" in str(error)
    assert "secret/path" not in str(error)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("location", ["/elsewhere", "", "http://[broken"])
def test_a_redirect_to_nowhere_is_permanent_too(client: ApiClient, wire: Wire, location: str) -> None:
    wire.steps = (answer(302, Location=location),)

    assert type(failure(get, client)) is Permanent


# --- what never shows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"code":"internal_error","message":"card 4242"}', " (internal_error)"),
        (b'{"error":"Server Error","code":"E1"}', " (E1)"),
        (b'{"error":{"code":"lock_timeout"}}', " (lock_timeout)"),
        (b'{"error":"Ada Byrne owes 4242"}', ""),
        (b'{"code":["x"]}', ""),
        (b'["code"]', ""),
        (b"<html>card 4242</html>", ""),
        (f'{{"code":"{KEY}"}}'.encode(), " (***)"),
    ],
)
def test_an_error_names_the_providers_code_and_nothing_else_of_the_body(
    client: ApiClient, wire: Wire, body: bytes, shown: str
) -> None:
    wire.steps = (answer(500, body),)
    error = failure(lambda client: client.get("payments", params={"email": "ada@example.com"}), client)

    assert str(error) == f"acme: GET /payments was answered 500{shown}"


def everything_said(error: BaseException | None) -> str:
    return (
        "" if error is None else f"{error!r} {error}" + everything_said(error.__cause__ or error.__context__)
    )


@pytest.mark.parametrize(
    "steps",
    [
        (answer(500, KEY.encode()),),
        (answer(302, Location=f"https://{KEY}.example.com"),),
        (answer(200)[:9],),
        (),
    ],
)
def test_no_error_and_no_log_line_shows_a_secret(
    wire: Wire, caplog: pytest.LogCaptureFixture, steps: tuple[Step, ...]
) -> None:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="billhook.http")
    wire.steps = steps
    headers, more = {"Authorization": f"Bearer {KEY}"}, ["tok/hidden"]
    with ApiClient(name="acme", base_url=wire.url, headers=headers, secrets=more) as client:
        error = failure(
            lambda client: client.post("hooks", "tok/hidden", params={"key": KEY}, json={"pan": "4242"}),
            client,
        )

    said = everything_said(error) + repr(client) + caplog.text
    assert "/hooks/***" in str(error)
    assert [word for word in (KEY, "hidden", "4242") if word in said] == []


def test_a_call_is_logged_with_its_status_and_without_its_query(
    client: ApiClient, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="billhook.http")
    client.get("customers", params={"email": "ada@example.com"})
    wire.steps = ()
    failure(get, client)

    lines = [record.getMessage() for record in caplog.records if record.name == "billhook.http"]
    assert lines[0].startswith("http.call acme: GET /customers status=200 ms=")
    assert lines[1].startswith("http.call acme: GET /payments status=no answer ms=")
    assert "ada@example.com" not in caplog.text


def test_repr_shows_name_and_host_only() -> None:
    with ApiClient(
        name="acme", base_url="https://api.example.com/hidden/v1", headers={"X-Api-Key": KEY}, secrets=["pw"]
    ) as client:
        assert repr(client) == "<ApiClient acme at api.example.com>"


@given(st.text(), st.lists(st.text(alphabet="abc", min_size=4, max_size=8), max_size=4))
def test_nothing_is_left_of_a_redacted_secret(text: str, secrets: list[str]) -> None:
    shown = redact(text + "".join(secrets), secrets)

    assert [secret for secret in secrets if secret in shown] == []


def test_redaction_takes_the_longest_secret_first_and_leaves_short_words() -> None:
    assert redact("key-long key and abc", ["key-", "key-long", "abc", ""]) == "*** key and abc"


# --- in process ---------------------------------------------------------------------------------------------------


def test_an_app_answers_in_process_as_a_wsgi_server_would_call_it() -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.append(dict(environ) | {"body": environ["wsgi.input"].read()})
        start_response("201 Created", [("Content-Type", "application/json"), ("X-Request-Id", "req_1")])
        return [b'{"id":', b"1}"]

    with ApiClient(name="acme", base_url="https://acme.test/api", app=app) as client:
        response = client.post("customers", "é✓", params={"a": "b"}, json={"x": 1}, idempotency_key="k")

    assert (response.status, response.json(), response.request_id) == (201, {"id": 1}, "req_1")
    assert seen[0]["PATH_INFO"].encode("latin-1").decode() == "/api/customers/é✓"
    assert (seen[0]["REQUEST_METHOD"], seen[0]["QUERY_STRING"], seen[0]["body"]) == (
        "POST",
        "a=b",
        b'{"x":1}',
    )
    assert (seen[0]["HTTP_IDEMPOTENCY_KEY"], seen[0]["HTTP_HOST"]) == ("k", "acme.test")


def test_an_app_that_fails_is_judged_like_a_server() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("504 Gateway Timeout", [])
        return []

    with ApiClient(name="acme", base_url="https://acme.test", app=app) as client:
        assert type(failure(post_money, client)) is OutcomeUnknown
        assert type(failure(get, client)) is Temporary
