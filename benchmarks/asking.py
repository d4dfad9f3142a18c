"""The load of questions about access, in a process of its own, over keep-alive connections, one at a time on each.

``python -m benchmarks.asking PORT KEY HOW FIRST COUNT`` asks about the customers numbered from FIRST and prints what came
of it as JSON. HOW is ``new``: COUNT of them, each once; ``again``: the same few over and over; ``unchanged``: as ``new``,
with the tag of an answer that was given more than a second ago.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections import deque

from benchmarks.load import run

FEW = 20
CONNECTIONS = 16
_SETTLED_SECONDS = 1.2


def request(number: int, key: str, tag: str | None = None) -> bytes:
    """Return the bytes of one question."""
    lines = [f"GET {path(number)} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}"]
    lines += [f"If-None-Match: {tag}"] if tag else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def path(number: int) -> str:
    """Return where one customer's access is asked for."""
    return f"/api/v1/customers/cus_{number:07d}/access"


def requests(port: int, key: str, how: str, first: int, count: int) -> deque[bytes]:
    """Return what is asked, in its order."""
    numbers = range(first, first + count)
    match how:
        case "new":
            return deque(request(number, key) for number in numbers)
        case "again":
            return deque(request(first + number % FEW, key) for number in range(count))
        case "unchanged":
            tags = _tags(port, key, numbers)
            time.sleep(_SETTLED_SECONDS)
            return deque(request(number, key, tags[number]) for number in numbers)
        case _:
            raise ValueError(f"{how!r} is no way to ask; choose new, again or unchanged")


def _tags(port: int, key: str, numbers: range) -> dict[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    found = {}
    for number in numbers:
        connection.request("GET", path(number), headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        answer.read()
        found[number] = answer.headers["ETag"]
    connection.close()
    return found


def main() -> None:
    """Ask and print."""
    port, key, how, first, count = sys.argv[1:6]
    asked = requests(int(port), key, how, int(first), int(count))
    json.dump(run(int(port), asked, CONNECTIONS), sys.stdout)


if __name__ == "__main__":
    main()
