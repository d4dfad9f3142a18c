"""Posting to receivers: the address that was checked is the one that is called, and no receiver can hold on to us."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from billhook.clock import SystemClock, monotonic, pause
from billhook.errors import Temporary
from billhook.http import AllowedTargets, Sender, TargetForbidden

LOOPBACK = AllowedTargets.of(["127.0.0.0/8"])
PATIENCE_SECONDS = 30.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One listening socket; ``talk`` gets each connection and what was read from it."""

    def __init__(self, talk: Callable[[socket.socket], None], tls: ssl.SSLContext | None) -> None:
        self.heard: list[bytes] = []
        self.names: list[str | None] = []
        self._talk = talk
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=PATIENCE_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                connection.settimeout(PATIENCE_SECONDS)
                talking = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
                with talking:
                    self.heard.append(_request(talking))
                    self._talk(talking)


def _request(connection: socket.socket) -> bytes:
    read = b""
    while b"\r\n\r\n" not in read or not read.endswith(b"{}"):
        part = connection.recv(65536)
        if not part:
            break
        read += part
    return read


@contextmanager
def peer(talk: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    made = Peer(talk, tls)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def sender(**options: object) -> Iterator[Sender]:
    made = Sender(**{"allowed": LOOPBACK, **options})  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()


def ok(connection: socket.socket) -> None:
    connection.sendall(ANSWER)


def leads_to(*addresses: str) -> Callable[[str, int], Sequence[str]]:
    return lambda _host, _port: addresses


def test_a_webhook_is_posted_and_its_answer_returned() -> None:
    with peer(ok) as there, sender() as post:
        answer = post(f"http://127.0.0.1:{there.port}/a?b=c", headers={"webhook-id": "m"}, body=b"{}")
    assert (answer.status, answer.body) == (200, b"ok")
    (heard,) = there.heard
    assert heard.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{there.port}\r\n".encode() in heard
    assert b"webhook-id: m\r\n" in heard
    assert b"\r\nConnection: close\r\n" in heard


@pytest.mark.parametrize(
    "addresses",
    [("127.0.0.1",), ("8.8.8.8", "127.0.0.1"), ("::ffff:127.0.0.1",), ("fe80::1%eth0",), ("2002:7f00:1::",)],
)
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(addresses: tuple[str, ...]) -> None:
    with peer(ok) as there, sender(allowed=None, resolve=leads_to(*addresses)) as post:
        with pytest.raises(TargetForbidden, match="private or reserved"):
            post(f"https://hooks.example.com:{there.port}/", headers={}, body=b"{}")
    assert there.heard == []


def test_a_url_that_was_fine_when_it_was_added_is_checked_again() -> None:
    with sender(allowed=None) as post, pytest.raises(TargetForbidden, match="https"):
        post("http://example.com/", headers={}, body=b"{}")


def test_a_name_without_an_address_may_have_one_later() -> None:
    def nobody(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    with (
        sender(resolve=nobody) as post,
        pytest.raises(Temporary, match=r"hooks\.example\.com has no address"),
    ):
        post("https://hooks.example.com/secret-path", headers={}, body=b"{}")


def test_another_address_of_the_name_is_tried_when_one_does_not_answer() -> None:
    allowed = AllowedTargets.of(["hooks.example.com"])
    with peer(ok) as there, sender(allowed=allowed, resolve=leads_to("::1", "127.0.0.1")) as post:
        answer = post(f"http://hooks.example.com:{there.port}/", headers={}, body=b"{}")
    assert answer.status == 200


def test_nobody_there_is_told_without_the_path() -> None:
    with peer(ok) as there:
        port = there.port
    with sender() as post, pytest.raises(Temporary, match="could not be connected") as told:
        post(f"http://127.0.0.1:{port}/token-in-path", headers={}, body=b"{}")
    assert "token-in-path" not in str(told.value)


def test_a_redirect_is_an_answer_like_any_other() -> None:
    with peer(ok) as elsewhere:
        to = f"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:{elsewhere.port}/\r\nContent-Length: 0\r\n\r\n"
        with peer(lambda connection: connection.sendall(to.encode())) as there, sender() as post:
            assert post(f"http://127.0.0.1:{there.port}/", headers={}, body=b"{}").status == 307
    assert elsewhere.heard == []


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"])
def test_a_receiver_that_trickles_is_cut_off(start: bytes) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(start or b"H")
        latest = monotonic() + PATIENCE_SECONDS
        while monotonic() < latest:
            connection.sendall(b"T")  # ends with OSError when the other side has gone
            pause(0.02)

    with peer(trickle) as there, sender(seconds=0.5) as post:
        with pytest.raises(Temporary, match=r"did not answer within 0\.5 s"):
            post(f"http://127.0.0.1:{there.port}/", headers={}, body=b"{}")


def test_of_a_long_answer_only_the_beginning_is_read() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:  # ends with OSError when the other side has gone
            connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with peer(flood) as there, sender() as post:
        answer = post(f"http://127.0.0.1:{there.port}/", headers={}, body=b"{}")
    assert len(answer.body) == 16 * 1024


@pytest.mark.parametrize("noise", [b"", b"220 mail.example.com ESMTP\r\n", b"\x00" * 300, b"HTTP/1.1 200"])
def test_what_is_no_http_is_a_failure_and_no_more(noise: bytes) -> None:
    with peer(lambda connection: connection.sendall(noise)) as there, sender() as post:
        with pytest.raises(Temporary, match="broke off"):
            post(f"http://127.0.0.1:{there.port}/", headers={}, body=b"{}")


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with peer(ok) as there, sender() as post:
        assert post(f"http://127.0.0.1:{there.port}/", headers={}, body=b"{}").status == 200


# --- TLS -------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str, now: datetime) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server called ``name`` shows, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())


def test_the_address_is_called_and_the_certificate_is_that_of_the_name(tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path, "hooks.example.com", SystemClock().now())
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    options = {"allowed": LOOPBACK, "resolve": leads_to("127.0.0.1"), "authorities": trusting}
    with peer(ok, server) as there, sender(**options) as post:
        url = f"https://hooks.example.com:{there.port}/"
        assert post(url, headers={}, body=b"{}").status == 200
        assert asked == ["hooks.example.com"]
        with pytest.raises(Temporary, match=r"other\.example\.com could not be connected to"):
            post(f"https://other.example.com:{there.port}/", headers={}, body=b"{}")
    assert len(there.heard) == 1
