"""What senders are told, whether the front answers or Flask; and what wakes the work."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from werkzeug.test import Client, create_environ, run_wsgi_app

from billhook.provider import Delivery
from billhook.testing.fakes import FakeSource
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.bell import WAITING, Bell
from billhook_web.bodies import Places, in_time
from billhook_web.db import Database
from billhook_web.runtime import Runtime
from billhook_web.stores import inbox, schema
from billhook_web.stores.gathering import Gathering
from billhook_web.webhooks import MAX_BODY, Ingress, in_front

NOW = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path / 'host.sqlite3'}"
    database = Database(url)
    schema.upgrade(database)
    yield database
    database.close()


def together(count: int, act: Callable[[int], object]) -> list[object]:
    """Do it in so many threads at once; return what came of each, in order."""
    came: dict[int, object] = {}
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            came[number] = act(number)
        except Exception as exc:  # noqa: BLE001 - it is what came of it
            came[number] = exc

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [came[number] for number in range(count)]


# --- storing together --------------------------------------------------------------------------------------------


def test_what_comes_at_once_is_stored_once_each(db: Database) -> None:
    gathering = Gathering(db)

    def add(number: int) -> int | None:
        return gathering.add(
            connection="acme",
            delivery=Delivery(key=f"key-{number // 2}"),
            body=b"%d" % (number // 2),
            now=NOW,
        )

    ids = together(40, add)
    stored = [inbox_id for inbox_id in ids if inbox_id is not None]
    assert len(stored) == len(set(stored)) == 20
    for first, second in zip(ids[::2], ids[1::2], strict=True):
        assert (first is None) != (second is None)
    with db.read() as tx:
        assert {row.body for row in inbox.page(tx, limit=100)} == {b"%d" % number for number in range(20)}


def test_a_repetition_by_content_is_one_delivery(db: Database) -> None:
    gathering = Gathering(db)
    first = gathering.add(connection="a", delivery=Delivery(key="1", content_key="c"), body=b"x", now=NOW)
    again = gathering.add(connection="a", delivery=Delivery(key="2", content_key="c"), body=b"x", now=NOW)
    other = gathering.add(connection="b", delivery=Delivery(key="1", content_key="c"), body=b"x", now=NOW)
    assert (first is None, again, other is None) == (False, None, False)


def test_it_is_stored_as_everything_else_stores_it(db: Database) -> None:
    inbox_id = Gathering(db).add(
        connection="acme", delivery=Delivery(key="k", type="t" * 200), body=b"\x00\xff", now=NOW
    )
    assert inbox_id is not None
    with db.begin() as tx:
        row = inbox.get(tx, inbox_id)
        assert row is not None
        assert (row.body, row.received_at, row.due_at, row.type, row.attempts) == (
            b"\x00\xff",
            NOW,
            NOW,
            "t" * 128,
            0,
        )
        assert [waiting for waiting, _ in inbox.due(tx, now=NOW, limit=5)] == [inbox_id]


def test_a_row_the_database_refuses_fails_alone(postgres_url: str) -> None:
    db = Database(postgres_url)
    schema.upgrade(db)
    gathering = Gathering(db)

    def add(number: int) -> int | None:
        key = "no\x00thing" if number == 3 else f"key-{number}"  # PostgreSQL stores no NUL in a text
        return gathering.add(connection="acme", delivery=Delivery(key=key), body=b"{}", now=NOW)

    came = together(12, add)
    db.close()
    assert isinstance(came[3], DBAPIError)
    assert all(isinstance(each, int) for number, each in enumerate(came) if number != 3)


def test_a_connection_that_broke_meanwhile_is_replaced(postgres_url: str) -> None:
    db = Database(postgres_url)
    schema.upgrade(db)
    gathering = Gathering(db)
    gathering.add(connection="acme", delivery=Delivery(key="before"), body=b"{}", now=NOW)
    with db.begin() as tx:
        tx.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    added = gathering.add(connection="acme", delivery=Delivery(key="after"), body=b"{}", now=NOW)
    db.close()
    assert added is not None


# --- waking ------------------------------------------------------------------------------------------------------


def test_the_bell_rings_for_each_and_goes_on_after_one_that_failed() -> None:
    heard: list[int] = []
    rung = threading.Event()

    def wake(inbox_id: int) -> None:
        if inbox_id == 1:
            raise OSError("the queue is away")
        heard.append(inbox_id)
        rung.set()

    bell = Bell(wake)
    bell.ring(1)
    bell.ring(2)
    assert rung.wait(60)
    bell.close()
    assert heard == [2]


def test_in_a_flood_the_bell_is_silent_and_rings_again_after_it() -> None:
    heard: list[int] = []
    first, last, go_on = threading.Event(), threading.Event(), threading.Event()

    def wake(inbox_id: int) -> None:
        heard.append(inbox_id)
        first.set()
        go_on.wait(60)
        if inbox_id == -1:
            last.set()

    bell = Bell(wake, flood_seconds=0.05)
    bell.ring(0)
    assert first.wait(60)
    for number in range(1, 10 * WAITING):
        bell.ring(number)
    go_on.set()
    while not last.is_set() and not last.wait(0.02):
        bell.ring(-1)
    bell.close()
    assert len(heard) < 10 * WAITING


# --- slow bodies -------------------------------------------------------------------------------------------------


class Stalled:
    """A body that comes when it is told to."""

    def __init__(self) -> None:
        self.read_from = threading.Event()
        self.come = threading.Event()

    def read(self, _size: int = -1) -> bytes:
        self.read_from.set()
        self.come.wait(60)
        return b"late"


def reading(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    start("200 OK", [])
    return [environ["wsgi.input"].read(10)]


def undrained(app: Any) -> Any:
    return app


def post(app: Any, body: Any, **environ: str) -> tuple[str, bytes]:
    answer, status, _ = run_wsgi_app(app, {**create_environ(method="POST"), "wsgi.input": body, **environ})
    return status, b"".join(answer)


def test_requests_that_wait_for_their_bodies_take_no_place_of_those_that_are_worked_on() -> None:
    app = in_time(reading, places=Places(1), bodies=4, drain=undrained)
    stalled = [Stalled() for _ in range(3)]
    answers: list[tuple[str, bytes]] = []
    threads = [
        threading.Thread(target=lambda body=body: answers.append(post(app, body)))  # type: ignore[misc]  # bound now
        for body in stalled
    ]
    for thread, body in zip(threads, stalled, strict=True):
        thread.start()
        assert body.read_from.wait(60)
    assert post(app, BytesIO(b"good")) == ("200 OK", b"good")
    for thread, body in zip(threads, stalled, strict=True):
        body.come.set()
        thread.join(60)
    assert answers == [("200 OK", b"late")] * 3


def test_when_too_many_wait_the_next_is_sent_away_unread_and_what_needs_no_body_is_answered() -> None:
    app = in_time(reading, places=Places(1), bodies=1, drain=undrained)
    stalled, refused = Stalled(), Stalled()
    waiting = threading.Thread(target=post, args=(app, stalled))
    waiting.start()
    assert stalled.read_from.wait(60)
    _, status, headers = run_wsgi_app(app, {**create_environ(method="POST"), "wsgi.input": refused})
    got, _, _ = run_wsgi_app(app, {**create_environ(), "wsgi.input": BytesIO(b"")})
    stalled.come.set()
    waiting.join(60)
    assert (status, headers["Retry-After"], headers["Connection"]) == (
        "503 Service Unavailable",
        "10",
        "close",
    )
    assert not refused.read_from.is_set()
    assert list(got) == [b""]
    assert post(app, BytesIO(b"again")) == ("200 OK", b"again")


def test_places_are_closed_when_those_inside_are_ready() -> None:
    places = Places(2)
    with places:
        assert not places.close(seconds=0.01)
    places = Places(2)
    with places:
        inside = threading.Thread(target=places.close, kwargs={"seconds": 60})
        inside.start()
    inside.join(60)
    assert not inside.is_alive()
    assert not places.close(seconds=0.01)  # nobody gets in any more


@pytest.mark.parametrize("size", [MAX_BODY, MAX_BODY + 1, MAX_BODY + 7])
def test_a_body_that_is_read_ahead_is_whole(size: int) -> None:
    def whole(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start("200 OK", [])
        body = environ["wsgi.input"]
        return [body.read(5), body.read()]

    sent = bytes(number % 251 for number in range(size))
    app = in_time(whole, places=Places(1), drain=undrained)
    assert post(app, BytesIO(sent))[1] == sent  # chunked: its length is not said
    assert post(app, BytesIO(sent), CONTENT_LENGTH=str(size))[1] == sent


# --- two edges, one answer ---------------------------------------------------------------------------------------


@pytest.fixture(params=["flask", "front"])
def sender(request: pytest.FixtureRequest, runtime: Runtime) -> Client:
    wake = Wake(runtime)
    app: Any = create_app(runtime, wake)
    return Client(in_front(app, Ingress(runtime, wake.inbox)) if request.param == "front" else app)


def waiting(runtime: Runtime) -> dict[str, int]:
    with runtime.db.read() as tx:
        return inbox.counts(tx)


def test_a_signed_delivery_is_taken_once(sender: Client, runtime: Runtime) -> None:
    source = runtime.connections.source("fakepay")
    assert isinstance(source, FakeSource)
    sent = source.signed(b"{}", runtime.clock.now())
    for _ in range(2):
        answer = sender.post("/webhooks/fakepay", data=sent.body, headers=dict(sent.headers))
        assert (answer.status_code, answer.data, answer.headers["Content-Length"]) == (200, b"", "0")
    assert waiting(runtime) == {"received": 1}


@pytest.mark.parametrize("sent_ago", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_a_replayed_delivery_is_refused_by_its_time(
    sender: Client, runtime: Runtime, sent_ago: timedelta
) -> None:
    source = runtime.connections.source("fakepay")
    assert isinstance(source, FakeSource)
    sent = source.signed(b"{}", runtime.clock.now() - sent_ago)
    assert sender.post("/webhooks/fakepay", data=sent.body, headers=dict(sent.headers)).status_code == 401
    assert waiting(runtime) == {}


@pytest.mark.parametrize(
    ("path", "size", "status", "title"),
    [
        ("/webhooks/fakepay", 2, 401, "Signature invalid"),
        ("/webhooks/fakepay", MAX_BODY, 401, "Signature invalid"),
        ("/webhooks/fakepay", MAX_BODY + 1, 413, "Body too large"),
        ("/webhooks/nobody", 2, 404, "No such connection"),
    ],
)
def test_a_refusal_is_a_problem(
    sender: Client, runtime: Runtime, path: str, size: int, status: int, title: str
) -> None:
    answer = sender.post(path, data=b"x" * size)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    said = json.loads(answer.data)
    assert list(said) == ["type", "title", "status", "detail"]
    assert (said["title"], said["status"]) == (title, status)
    assert waiting(runtime) == {}


def test_when_nothing_can_be_stored_the_sender_shall_try_again(sender: Client, runtime: Runtime) -> None:
    source = runtime.connections.source("fakepay")
    assert isinstance(source, FakeSource)
    with runtime.db.begin() as tx:
        tx.exec_driver_sql("ALTER TABLE inbox RENAME TO gone")
    sent = source.signed(b"{}", runtime.clock.now())
    answer = sender.post("/webhooks/fakepay", data=sent.body, headers=dict(sent.headers))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")


@pytest.mark.parametrize("path", ["/webhooks/", "/webhooks/a/b", "/webhooks"])
def test_a_path_that_names_nobody_is_not_found(sender: Client, path: str) -> None:
    assert sender.post(path, data=b"{}").status_code == 404


def test_only_post_is_allowed(sender: Client) -> None:
    answer = sender.get("/webhooks/fakepay")
    assert (answer.status_code, "POST" in answer.headers["Allow"]) == (405, True)
