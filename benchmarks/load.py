"""The load, in a process of its own: signed deliveries over keep-alive connections, one at a time on each.

``python -m benchmarks.load PORT FIRST COUNT CONNECTIONS [invoices]`` posts the deliveries numbered from FIRST and prints
what came of it as JSON. Everything is signed before the clock starts. It ends by itself: the count is fixed, and so is the
patience.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import selectors
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass

SECRET = "lago-sandbox-hmac-key"
PATIENCE_SECONDS = 60.0
_FILLING = "One of the many lines that an event of a billing engine carries along. " * 18


def body(number: int) -> bytes:
    """Return a delivery of about 1.5 kB: of a type that nothing follows from, so that only its way in is measured."""
    fee = {"lago_id": f"fee-{number:012d}", "amount_cents": number, "description": _FILLING}
    return json.dumps({"webhook_type": "fee.created", "object_type": "fee", "fee": fee}).encode()


def invoice(number: int) -> bytes:
    """Return the delivery of an invoice that is to be collected."""
    from benchmarks import invoices  # a sandbox comes with it, which the other deliveries do not wait for

    return invoices.webhook(number)


def signature(content: bytes) -> str:
    """Sign as the billing engine does."""
    return base64.b64encode(hmac.new(SECRET.encode(), content, hashlib.sha256).digest()).decode()


def key(content: bytes) -> str:
    """Return the key by which a delivery is known."""
    return hashlib.sha256(content).hexdigest()[:36]


def headers(content: bytes) -> dict[str, str]:
    """Return what is sent with a delivery."""
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "X-Lago-Signature-Algorithm": "hmac",
        "X-Lago-Signature": signature(content),
        "X-Lago-Unique-Key": key(content),
    }


def request(content: bytes) -> bytes:
    """Return the bytes of one delivery."""
    lines = [f"{name}: {value}" for name, value in headers(content).items()]
    head = "\r\n".join(["POST /webhooks/lago HTTP/1.1", "Host: 127.0.0.1", *lines])
    return f"{head}\r\n\r\n".encode() + content


@dataclass
class _Line:
    """One connection and what it waits for."""

    socket: socket.socket
    received: bytes = b""


def run(port: int, requests: deque[bytes], connections: int) -> dict[str, object]:
    """Send them all; return seconds, and answers by status."""
    selector = selectors.DefaultSelector()
    open_lines = 0
    for _ in range(min(connections, len(requests))):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ, _Line(sock))
        open_lines += 1
    statuses: Counter[str] = Counter()
    began = time.perf_counter()
    for key in list(selector.get_map().values()):
        key.data.socket.sendall(requests.popleft())
    while open_lines and time.perf_counter() - began < PATIENCE_SECONDS:
        for key, _ in selector.select(1.0):
            line: _Line = key.data
            status = _answer(line)
            if status is None:
                continue
            statuses[status] += 1
            if requests:
                line.socket.sendall(requests.popleft())
            else:
                selector.unregister(line.socket)
                line.socket.close()
                open_lines -= 1
    return {"seconds": time.perf_counter() - began, "statuses": dict(statuses)}


def _answer(line: _Line) -> str | None:
    """Take what has come; return the status when the answer is complete."""
    line.received += line.socket.recv(65536)
    head, end, rest = line.received.partition(b"\r\n\r\n")
    if not end:
        return None
    at = head.lower().find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    if at < 0 and b"chunked" in head.lower() and not rest.endswith(b"0\r\n\r\n"):
        return None
    if len(rest) < length:
        return None
    line.received = b""
    return head[9:12].decode()


def main() -> None:
    """Post and print."""
    port, first, count, connections = (int(argument) for argument in sys.argv[1:5])
    content = invoice if sys.argv[5:] == ["invoices"] else body
    requests = deque(request(content(number)) for number in range(first, first + count))
    json.dump(run(port, requests, connections), sys.stdout)


if __name__ == "__main__":
    main()
