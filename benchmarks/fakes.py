"""What the host calls, as little as it needs: a payment provider that opens checkouts, a billing engine that lists.

``python -m benchmarks.fakes PORT INVOICES MILLISECONDS`` answers until it is told to stop. There are so many invoices to
list, and a checkout takes so many milliseconds to open. It keeps nothing, so its own cost stays out of the way.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from benchmarks import invoices

PER_PAGE = 100
PRODUCT = b'{"price": {"type": "one_time_price", "pay_what_you_want": true, "currency": "EUR", "tax_inclusive": true}}'
_INVOICES = "/api/v1/invoices"


def application(held: int, seconds: float) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application."""

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        content = environ["wsgi.input"].read() and b""
        path: str = environ["PATH_INFO"]
        if path == "/checkouts":
            time.sleep(seconds)
            content = b'{"session_id": "cks_bench", "checkout_url": "http://127.0.0.1:9/pay"}'
        elif path.startswith("/products/"):
            content = PRODUCT
        elif path.startswith(f"{_INVOICES}/"):
            content = b'{"invoice": %s}' % invoices.whole(int(path[-12:]))
        else:
            page = int(parse_qs(environ["QUERY_STRING"])["page"][0])
            content = listed(path.rpartition("/")[2], page, held=held)
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
        return [content]

    return app


def listed(root: str, page: int, *, held: int) -> bytes:
    """Return a page of a list; only invoices are held."""
    first, last = (page - 1) * PER_PAGE, min(page * PER_PAGE, held if root == "invoices" else 0)
    rows = b", ".join(invoices.row(number) for number in range(first, last))
    following = page + 1 if root == "invoices" and last < held else "null"
    return f'{{"{root}": ['.encode() + rows + f'], "meta": {{"next_page": {following}}}}}'.encode()


def main() -> None:
    """Serve."""
    from benchmarks.barest import serve

    port, held, milliseconds = (int(argument) for argument in sys.argv[1:])
    serve("benchmarks.fakes", port, 16, partial(application, held, milliseconds / 1000))


if __name__ == "__main__":
    main()
