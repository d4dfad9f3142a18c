"""What strangers send to the port where money is told about: answered right, while genuine deliveries are stored."""

from __future__ import annotations

import gzip
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from benchmarks import machines
from benchmarks.load import body, request, signature
from benchmarks.machines import Server

from billhook_web.bodies import BODIES
from billhook_web.db import Database
from billhook_web.stores import inbox

MIB = 1024 * 1024
WRONG = int(os.environ.get("BILLHOOK_TEST_WRONG_SIGNATURES", "500"))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("abuse")
    with machines.host("serve", machines.settings(url(folder)), name=str(folder)) as server:
        yield server


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'abuse.sqlite3'}"


def exchange(host: Server, sent: bytes, *, patience: float = 60.0) -> int:
    """Send these bytes and return the status; 0: the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", host.port), timeout=patience) as line:
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # refused before all was sent: the answer may be there
            line.sendall(sent)
        try:
            return int(line.recv(4096)[9:12] or 0)
        except ConnectionResetError:
            return 0


def get(host: Server, path: str) -> int:
    return exchange(host, f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())


def signed(content: bytes, *headers: str) -> bytes:
    """Return a genuine delivery with more headers in front of its own."""
    first, rest = request(content).split(b"\r\n", 1)
    return b"\r\n".join([first, *(header.encode("latin-1") for header in headers), rest])


def forged(content: bytes) -> bytes:
    return request(content).replace(signature(content).encode(), b"A" * 43 + b"=")


def good(host: Server, number: int) -> int:
    return exchange(host, request(body(number)))


def stored(host: Server) -> int:
    db = Database(url(Path(host.name)))
    try:
        with db.read() as tx:
            return sum(inbox.counts(tx).values())
    finally:
        db.close()


@contextmanager
def stalled(host: Server, count: int) -> Iterator[list[socket.socket]]:
    """Hold so many connections whose body never comes."""
    head = b"POST /webhooks/lago HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nhalf"
    with ExitStack() as stack:
        lines = []
        for _ in range(count):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", host.port), timeout=60))
            line.sendall(head)
            lines.append(line)
        time.sleep(0.3)
        yield lines


def test_good_deliveries_flow_beside_two_hundred_stalled_senders(host: Server) -> None:
    before, memory = stored(host), host.memory()
    with stalled(host, 200):
        assert [good(host, 1_000 + number) for number in range(20)] == [200] * 20
        assert get(host, "/healthz") == 200
        assert host.memory() - memory < 60
    assert stored(host) == before + 20


def test_more_stalled_senders_than_can_be_waited_for_are_sent_away_at_once(host: Server) -> None:
    with stalled(host, BODIES + 20) as lines:
        waiting = set(lines)
        deadline = time.monotonic() + 60
        while len(waiting) > BODIES and time.monotonic() < deadline:
            answered, _, _ = select.select(list(waiting), [], [], 1)
            for line in answered:
                assert line.recv(4096).startswith(b"HTTP/1.1 503 ")
            waiting -= set(answered)
        assert len(waiting) == BODIES
        assert get(host, "/healthz") == 200
    deadline = time.monotonic() + 60
    while good(host, 1_100) != 200:
        assert time.monotonic() < deadline, "those who left are still waited for"


def test_wrong_signatures_store_nothing_and_cost_no_memory(host: Server) -> None:
    assert good(host, 2_000) == 200
    before, memory = stored(host), host.memory()
    statuses = [exchange(host, forged(body(number))) for number in range(WRONG)]
    assert set(statuses) == {401}
    assert stored(host) == before
    assert host.memory() - memory < 30
    assert good(host, 2_001) == 200


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_json_nested_a_hundred_thousand_deep_is_only_bytes(host: Server, content: bytes) -> None:
    assert exchange(host, forged(content)) == 401
    assert exchange(host, signed(content)) == 200
    assert good(host, 3_000 + len(content) + content[0]) == 200


def test_a_gzip_bomb_stays_the_bytes_it_is(host: Server) -> None:
    bomb = gzip.compress(b"\0" * 200 * MIB)
    memory = host.memory()
    assert (
        exchange(host, forged(bomb).replace(b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type", 1))
        == 401
    )
    assert exchange(host, signed(bomb, "Content-Encoding: gzip")) == 200
    assert host.memory() - memory < 50


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("X-Lago-Signature: something-else", 401),  # twice: whose would it be
        ("X-Other: one\r\nX-Other: two", 200),
        ("X-Other: \xff\xfe", 200),
        ("X-Lago-Unique-Key: \xff", 200),
    ],
)
def test_headers_that_are_repeated_or_no_text_are_answered(host: Server, header: str, status: int) -> None:
    content = body(4_000 + sum(header.encode("latin-1")))
    assert exchange(host, signed(content, header)) == status
    assert good(host, 5_000 + sum(header.encode("latin-1"))) == 200


def test_a_body_that_is_no_text_is_stored_when_it_is_signed(host: Server) -> None:
    assert exchange(host, forged(b"\xff\xfe\x00")) == 401
    assert exchange(host, signed(b"\xff\xfe\x00")) == 200


@pytest.mark.parametrize(("size", "status"), [(MIB - 1, 200), (MIB, 200), (MIB + 1, 413)])
def test_the_limit_is_exact(host: Server, size: int, status: int) -> None:
    content = b'"' + b"x" * (size - 2) + b'"'
    assert exchange(host, signed(content)) == status
    assert good(host, 6_000_000 + size) == 200
