"""The client that integrators use, against the host as it is served."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from billhook.client import BillhookClient
from billhook.errors import NotFound
from billhook_web.access_front import AccessFront, in_front
from billhook_web.actors import Wake
from billhook_web.app import create_app

from .conftest import BOOTSTRAP_KEY, Api, make_runtime
from .test_api_billing import finalized, started


@contextmanager
def served(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()


@pytest.fixture(
    params=["", "CzBVep_E6Q4zWH2ix-wRNluApcrvFDleg6jN8hc8YYY"], ids=["without leases", "with leases"]
)
def leasing(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Iterator[Api]:
    path = shutil.copy(empty_database, tmp_path / "billhook.sqlite3")
    more = {"BILLHOOK_SECRET_KEY": request.param} if request.param else {}
    runtime = make_runtime(f"sqlite:///{path}", "acme,bare,fakepay", **more)
    yield Api(runtime, create_app(runtime, Wake(runtime)))
    runtime.close()


def front(api: Api) -> Any:
    """The application as the server runs it: plain questions are answered in front of Flask."""
    app: Flask = api.app
    return in_front(app, AccessFront(api.runtime))


def test_the_client_understands_what_the_host_says_and_survives_without_it(leasing: Api) -> None:
    leasing.apply(started("row/1", "s1"), finalized("i1"))
    clock = leasing.runtime.clock
    signs = leasing.runtime.sealer.ready
    with served(front(leasing)) as url:
        client = BillhookClient(url, BOOTSTRAP_KEY, clock=clock, on_outage="deny", timeout=10)
        told = client.access("acct_1")
        assert (told.access, told.state, told.version, told.source) == ("full", "active", 1, "fresh")
        assert client.access("acct_1").source == "cached"
        clock.advance(timedelta(seconds=2))
        again = client.access("acct_1")
        assert (again.source, again.as_of) == ("fresh", clock.now())
        line = client.subscription_access("acme:row/1")
        assert (line.access, line.state, list(line.subscriptions)) == ("full", "active", ["s1"])
        asked = client.query(["acct_1", "nobody"])
        assert {name: each.version for name, each in asked.items()} == {"acct_1": 1}
        with pytest.raises(NotFound):
            client.access("nobody")
    clock.advance(timedelta(seconds=2))
    for ask, subject in ((client.access, "acct_1"), (client.subscription_access, "acme:row/1")):
        alone = ask(subject)
        assert (alone.source, alone.allowed) == (("lease", True) if signs else ("declared", False))
    clock.advance(timedelta(minutes=6))
    assert not client.access("acct_1").allowed, "the lease is over"
    client.close()
