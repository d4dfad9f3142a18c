"""``billhook.client`` against a host on a real socket: what it asks, remembers, and answers when it cannot ask.

Every test runs on the synchronous and on the asynchronous client.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from billhook.client import (
    Access,
    AccessChanged,
    AsyncBillhookClient,
    BillhookClient,
    Level,
    Source,
    SubscriptionAccess,
)
from billhook.clock import VirtualClock
from billhook.errors import CredentialsRefused, LeaseInvalid, NotFound, Refused, Temporary
from billhook.lease import LONGEST, Lease, Subject, jwks_of, key_id, public_of, sign_lease

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
KEY = "bh_live_0123456789abcdef"
SECOND = timedelta(seconds=1)
SEEDS = (bytes(range(32)), bytes(range(1, 33)))


def decision(customer: str, **changed: Any) -> dict[str, Any]:
    return {
        "customer": customer,
        "state": "active",
        "standing": "clear",
        "access": "full",
        "block_changes": False,
        "reasons": [],
        "next_change_at": None,
        "next": None,
        "subscriptions": {"acme:s1": {"state": "active", "access": "full", "paid_through": None}},
        "version": 1,
        **changed,
    }


class Host:
    """Answers as the host does. ``mode`` is what is wrong with it; ``signs_with`` None: it signs no leases."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.said: dict[str, dict[str, Any]] = {"c/1": decision("c/1"), "c2": decision("c2")}
        self.asked: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.mode: int | bytes | None = None
        self.signs_with: bytes | None = SEEDS[0]
        self.published = [SEEDS[0]]
        self.lease_of: Callable[[str], str] = lambda token: token
        self.arrived = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    @property
    def asked_for_access(self) -> int:
        return sum("/access" in path for path in self.asked)

    def change(self, customer: str, **changed: Any) -> dict[str, Any]:
        old = self.said[customer]
        self.said[customer] = {**old, "version": old["version"] + 1, **changed}
        return old

    def answer(self, request: Request) -> Response:
        self.asked.append(request.full_path.rstrip("?"))
        self.arrived.set()
        self.gate.wait(30)
        response = self._answer(request)
        self.statuses[response.status_code] += 1
        return response

    def _answer(self, request: Request) -> Response:
        if isinstance(self.mode, bytes):
            return Response(self.mode, 200)
        if self.mode is not None:
            return problem(self.mode)
        if request.path == "/.well-known/jwks.json":
            return jsonable(jwks_of({key_id(public_of(seed)): public_of(seed) for seed in self.published}))
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return problem(401, "This API key is not known, or it was revoked.")
        if request.path == "/api/v1/access/query":
            customers = json.loads(request.data)["customers"]
            return jsonable({"decisions": [self.said[each] for each in customers if each in self.said]})
        return self._access(request, request.path.split("/", 4)[4].removesuffix("/access"))

    def _access(self, request: Request, subject: str) -> Response:
        said = self.said.get(subject)
        if said is None:
            return problem(404, f"There is no {subject}.")
        leased = request.args.get("lease") == "1"
        if leased and self.signs_with is None:
            return problem(409, "BILLHOOK_SECRET_KEY is not set")
        etag = f'"{said["version"]}"'
        if request.headers.get("If-None-Match") == etag:
            return Response(status=304, headers={"ETag": etag})
        kind = Subject.CUSTOMER if request.path.startswith("/api/v1/customers/") else Subject.SUBSCRIPTION
        lease = {"lease": self.lease_of(self.lease(said, kind, subject))} if leased else {}
        return jsonable({**said, **lease}, ETag=etag)

    def lease(self, said: dict[str, Any], kind: Subject, subject: str) -> str:
        now = self.clock.now()
        change = said["next_change_at"]
        end = min(now + LONGEST, datetime.fromisoformat(change)) if change else now + LONGEST
        lease = Lease(
            issuer="https://billing.test", kind=kind, subject=subject, issued_at=now, expires_at=end,
            version=said["version"], state=said["state"], standing=said["standing"], access=said["access"],
            block_changes=said["block_changes"],
        )  # fmt: skip
        assert self.signs_with is not None
        return sign_lease(lease, seed=self.signs_with)


def jsonable(body: Any, **headers: str) -> Response:
    return Response(json.dumps(body), 200, headers, content_type="application/json")


def problem(status: int, detail: str = "") -> Response:
    return Response(
        json.dumps({"title": "No", "detail": detail}), status, content_type="application/problem+json"
    )


class Sync:
    """The synchronous client behind the words that the tests use."""

    def __init__(self, url: str, **options: Any) -> None:
        self.client = BillhookClient(url, options.pop("api_key", KEY), **options)
        self.heard = self.client.heard

    def access(self, customer: str) -> Access:
        return self.client.access(customer)

    def subscription_access(self, ref: str) -> Access:
        return self.client.subscription_access(ref)

    def query(self, customers: list[str]) -> dict[str, Access]:
        return self.client.query(customers)

    def verify_lease(self, token: str) -> Lease:
        return self.client.verify_lease(token)

    def at_once(self, customers: list[str], release: Callable[[], None]) -> list[Access]:
        answers: list[Access] = []
        threads = [
            threading.Thread(target=lambda each=each: answers.append(self.access(each))) for each in customers
        ]
        for thread in threads:
            thread.start()
        release()
        for thread in threads:
            thread.join()
        return answers

    def close(self) -> None:
        self.client.close()


class Async:
    """The asynchronous client behind the same words, on one event loop."""

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = AsyncBillhookClient(url, options.pop("api_key", KEY), **options)
        self.heard = self.client.heard

    def access(self, customer: str) -> Access:
        return self._runner.run(self.client.access(customer))

    def subscription_access(self, ref: str) -> Access:
        return self._runner.run(self.client.subscription_access(ref))

    def query(self, customers: list[str]) -> dict[str, Access]:
        return self._runner.run(self.client.query(customers))

    def verify_lease(self, token: str) -> Lease:
        return self._runner.run(self.client.verify_lease(token))

    def at_once(self, customers: list[str], release: Callable[[], None]) -> list[Access]:
        async def ask() -> list[Access]:
            waiting = asyncio.gather(*(self.client.access(each) for each in customers))
            await asyncio.sleep(0.05)
            release()
            return await waiting

        return self._runner.run(ask())

    def close(self) -> None:
        self._runner.run(self.client.aclose())
        self._runner.close()


Twin = Sync | Async


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def host(clock: VirtualClock) -> Host:
    return Host(clock)


@pytest.fixture
def url(httpserver: HTTPServer, host: Host) -> str:
    httpserver.expect_request(re.compile(".*")).respond_with_handler(host.answer)
    return httpserver.url_for("")


@pytest.fixture(params=[Sync, Async])
def make(request: pytest.FixtureRequest, url: str, clock: VirtualClock) -> Iterator[Callable[..., Twin]]:
    made: list[Twin] = []

    def build(base_url: str = url, **options: Any) -> Twin:
        made.append(request.param(base_url, clock=clock, **{"timeout": 20.0, **options}))
        return made[-1]

    yield build
    for each in made:
        each.close()


@pytest.fixture
def client(make: Callable[..., Twin]) -> Twin:
    return make()


# --- asking and remembering ------------------------------------------------------------------------------------------


def test_an_answer_says_what_the_host_says(client: Twin, host: Host) -> None:
    host.said["c/1"] = decision(
        "c/1",
        state="past_due",
        standing="past_due",
        access="limited",
        block_changes=True,
        reasons=[{"rule": "past_due", "text": "Invoice I2 is 8 days overdue; the limit is 5."}],
        next_change_at="2026-09-30T00:00:00Z",
        next={"state": "restricted", "access": "none"},
        version=9,
    )
    assert client.access("c/1") == Access(
        subject="c/1",
        access=Level.LIMITED,
        state="past_due",
        standing="past_due",
        block_changes=True,
        reasons=("Invoice I2 is 8 days overdue; the limit is 5.",),
        next_change_at=datetime(2026, 9, 30, tzinfo=UTC),
        next=SubscriptionAccess(state="restricted", access=Level.NONE),
        subscriptions={"acme:s1": SubscriptionAccess(state="active", access=Level.FULL)},
        version=9,
        as_of=NOW,
        source=Source.FRESH,
    )
    assert client.access("c/1").allowed


def test_an_id_stays_one_segment_of_the_path(client: Twin, host: Host) -> None:
    client.access("c/1")
    assert host.statuses[200] == 2  # the keys and the answer
    with pytest.raises(NotFound, match=r"There is no \.\."):
        client.access("..")
    with pytest.raises(ValueError, match="empty"):
        client.access("")


def test_within_a_second_the_host_is_not_asked_again(client: Twin, host: Host, clock: VirtualClock) -> None:
    client.access("c2")
    clock.advance(SECOND - timedelta(microseconds=1))
    assert client.access("c2").source is Source.CACHED
    assert host.asked_for_access == 1


def test_after_a_second_the_host_is_asked_whether_it_is_still_so(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    client.access("c2")
    clock.advance(SECOND)
    answer = client.access("c2")
    assert (answer.source, answer.as_of, answer.version) == (Source.FRESH, NOW + SECOND, 1)
    assert host.statuses[304] == 1
    assert client.access("c2").source is Source.CACHED


def test_a_change_is_seen_after_a_second(client: Twin, host: Host, clock: VirtualClock) -> None:
    assert client.access("c2").allowed
    host.change("c2", access="none")
    clock.advance(SECOND)
    answer = client.access("c2")
    assert (answer.allowed, answer.version, answer.source) == (False, 2, Source.FRESH)


def test_an_answer_is_never_given_past_the_change_that_it_foresees(
    make: Callable[..., Twin], host: Host, clock: VirtualClock
) -> None:
    client = make(max_age=timedelta(minutes=1))
    host.said["c2"] = decision("c2", next_change_at=(NOW + SECOND / 2).isoformat())
    client.access("c2")
    clock.advance(SECOND / 2 - timedelta(microseconds=1))
    assert client.access("c2").source is Source.CACHED
    clock.advance(timedelta(microseconds=1))
    host.change("c2", access="none", next_change_at=None)
    assert not client.access("c2").allowed


def test_a_clock_that_was_set_back_makes_no_answer_live_longer(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    client.access("c2")
    clock.advance(-timedelta(hours=1))
    client.access("c2")
    assert host.asked_for_access == 2


def test_a_lease_is_renewed_before_it_ends_although_nothing_changed(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    for _ in range(20):
        client.access("c2")
        clock.advance(timedelta(minutes=1))
    host.mode = 503
    assert client.access("c2").source is Source.LEASE
    assert host.statuses[304] > 5


def test_what_is_remembered_is_bounded(make: Callable[..., Twin], host: Host) -> None:
    client = make(size=1)
    for customer in ("c2", "c/1", "c2"):
        client.access(customer)
    assert host.asked_for_access == 3


def test_a_subscription_is_asked_for_by_its_ref_and_kept_apart(client: Twin, host: Host) -> None:
    host.said["acme:s1"] = decision("c2", access="none")
    host.said["c2"]["version"] = 5
    assert not client.subscription_access("acme:s1").allowed
    assert client.access("c2").allowed
    assert "/api/v1/subscriptions/acme%3As1/access?lease=1" in [
        path.replace(":", "%3A") for path in host.asked
    ]


def test_many_who_want_to_know_the_same_at_once_make_one_request(client: Twin, host: Host) -> None:
    client.access("c/1")  # the keys are here now
    before = len(host.asked)
    host.gate.clear()
    answers = client.at_once(["c2"] * 8, host.gate.set)
    assert [answer.access for answer in answers] == [Level.FULL] * 8
    assert len(host.asked) - before <= 2  # a thread that starts late may find the answer or ask once more


def test_many_customers_are_asked_for_in_one_call(client: Twin, host: Host) -> None:
    answers = client.query(["c/1", "nobody", "c2"])
    assert {customer: answer.subject for customer, answer in answers.items()} == {"c/1": "c/1", "c2": "c2"}
    assert client.access("c2").source is Source.CACHED
    host.mode = 500
    assert {each.source for each in client.query(["c/1", "nobody"]).values()} == {Source.DECLARED}
    with pytest.raises(ValueError, match="at most 1000"):
        client.query(["c"] * 1001)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_an_error_not_an_outage(make: Callable[..., Twin]) -> None:
    client = make(api_key="bh_live_wrong", on_outage="allow")
    with pytest.raises(CredentialsRefused, match="does not accept the API key: This API key is not known"):
        client.access("c2")


@pytest.mark.parametrize(("status", "error"), [(403, CredentialsRefused), (404, NotFound), (422, Refused)])
def test_a_refusal_is_an_error_not_an_outage(
    client: Twin, host: Host, clock: VirtualClock, status: int, error: type[Refused]
) -> None:
    client.access("c2")
    clock.advance(SECOND)
    host.mode = status
    with pytest.raises(error):
        client.access("c2")
    with pytest.raises(error):
        client.query(["c2"])
    host.mode = None
    assert client.access("c2").source is Source.FRESH  # nothing is held open by a refusal


def test_a_host_that_signs_no_leases_is_asked_without(client: Twin, host: Host, clock: VirtualClock) -> None:
    host.signs_with = None
    assert client.access("c2").source is Source.FRESH
    clock.advance(SECOND)
    assert client.access("c2").source is Source.FRESH
    assert host.statuses == {409: 1, 200: 1, 304: 1}
    host.mode = 503
    clock.advance(SECOND)
    assert client.access("c2").source is Source.DECLARED


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "billing.test"},
        {"base_url": "https://billing.test/?a=b"},
        {"api_key": ""},
        {"api_key": "two words"},
        {"api_key": "ké"},
        {"on_outage": "guess"},
    ],
)
def test_what_cannot_be_used_is_refused_at_once(make: Callable[..., Twin], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"base_url|api_key|guess"):
        make(**wrong)


# --- outages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [500, 502, 503, 429, 408, 302, b"<html>", b"[]", b'{"version": 1}', b"\xff"])
def test_whatever_is_wrong_with_the_host_the_lease_answers(
    client: Twin, host: Host, clock: VirtualClock, mode: int | bytes
) -> None:
    client.access("c2")
    host.mode = mode
    clock.advance(SECOND)
    answer = client.access("c2")
    assert (answer.source, answer.stale, answer.access, answer.version) == (Source.LEASE, True, Level.FULL, 1)


def test_a_lease_answers_until_its_end_and_not_longer(client: Twin, host: Host, clock: VirtualClock) -> None:
    client.access("c2")
    host.mode = 503
    clock.advance(LONGEST - timedelta(microseconds=1))
    assert client.access("c2").source is Source.LEASE
    clock.advance(timedelta(microseconds=1))
    answer = client.access("c2")
    assert (answer.source, answer.allowed, answer.stale) == (Source.DECLARED, False, True)


def test_a_lease_ends_with_the_change_that_was_foreseen(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    host.said["c2"] = decision("c2", next_change_at=(NOW + timedelta(minutes=1)).isoformat())
    client.access("c2")
    host.mode = 503
    clock.advance(timedelta(minutes=1) - SECOND)
    assert client.access("c2").source is Source.LEASE
    clock.advance(SECOND)
    assert client.access("c2").source is Source.DECLARED


@pytest.mark.parametrize(
    ("choice", "source", "access"),
    [
        ("deny", Source.DECLARED, Level.NONE),
        ("allow", Source.DECLARED, Level.FULL),
        ("last_known", Source.LAST_KNOWN, Level.LIMITED),
    ],
)
def test_after_the_lease_the_declared_choice_answers(
    make: Callable[..., Twin], host: Host, clock: VirtualClock, choice: str, source: Source, access: Level
) -> None:
    client = make(on_outage=choice)
    host.change("c2", access="limited")
    client.access("c2")
    host.mode = 503
    clock.advance(LONGEST)
    answer = client.access("c2")
    assert (answer.source, answer.access, answer.stale) == (source, access, True)


@pytest.mark.parametrize(
    ("choice", "access"), [("deny", Level.NONE), ("allow", Level.FULL), ("last_known", Level.NONE)]
)
def test_when_nothing_was_ever_known_the_choice_answers_too(
    make: Callable[..., Twin], host: Host, choice: str, access: Level
) -> None:
    host.mode = 503
    answer = make(on_outage=choice).access("c2")
    assert (answer.access, answer.source, answer.version) == (access, Source.DECLARED, None)
    assert answer.reasons == ("Billhook cannot be asked: it answered 503.",)


def test_the_last_known_answer_makes_the_change_that_was_foreseen(
    make: Callable[..., Twin], host: Host, clock: VirtualClock
) -> None:
    client = make(on_outage="last_known")
    then = NOW + timedelta(minutes=1)
    host.said["c2"] = decision(
        "c2", next_change_at=then.isoformat(), next={"state": "restricted", "access": "none"}
    )
    client.access("c2")
    host.mode = 503
    clock.advance(timedelta(minutes=2))
    answer = client.access("c2")
    assert (answer.source, answer.access, answer.state) == (Source.LAST_KNOWN, Level.NONE, "restricted")


def test_raising_is_a_choice(make: Callable[..., Twin], host: Host, clock: VirtualClock) -> None:
    client = make(on_outage="raise")
    client.access("c2")
    host.mode = 503
    clock.advance(SECOND)
    assert client.access("c2").source is Source.LEASE
    clock.advance(LONGEST)
    with pytest.raises(Temporary, match="cannot be asked about c2: it answered 503"):
        client.access("c2")


def test_a_host_that_is_not_there_is_an_outage(make: Callable[..., Twin]) -> None:
    server = HTTPServer(port=0)
    server.start()
    port = server.port
    server.stop()
    answer = make(f"http://127.0.0.1:{port}", on_outage="allow").access("c2")
    assert (answer.allowed, answer.source) == (True, Source.DECLARED)
    assert "no connection" in answer.reasons[0]


def test_a_host_that_does_not_answer_in_time_is_an_outage(make: Callable[..., Twin], host: Host) -> None:
    host.gate.clear()
    answer = make(timeout=0.2).access("c2")
    host.gate.set()
    assert answer.reasons == ("Billhook cannot be asked: it did not answer in time.",)


def test_after_a_failure_the_others_do_not_wait_and_one_tries_again_later(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    host.mode = 503
    for _ in range(5):
        client.access("c2")
        client.access("c/1")
    assert len(host.asked) == 1
    clock.advance(SECOND / 2)
    client.access("c2")
    client.access("c/1")
    assert len(host.asked) == 2
    clock.advance(SECOND / 2)  # the wait has doubled
    client.access("c2")
    assert len(host.asked) == 2
    clock.advance(SECOND / 2)
    host.mode = None
    assert client.access("c2").source is Source.FRESH
    assert client.access("c/1").source is Source.FRESH


def test_the_wait_never_grows_beyond_fifteen_seconds(client: Twin, host: Host, clock: VirtualClock) -> None:
    host.mode = 503
    for _ in range(20):
        client.access("c2")
        clock.advance(timedelta(seconds=15))
    assert len(host.asked) == 20


# --- leases that lie -------------------------------------------------------------------------------------------------


def after_an_outage(client: Twin, host: Host, clock: VirtualClock) -> Source:
    client.access("c2")
    host.mode = 503
    clock.advance(SECOND)
    return client.access("c2").source


def test_a_lease_that_was_changed_on_the_way_is_not_kept(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    host.lease_of = lambda token: token[:-20] + "AAAA" + token[-16:]
    assert after_an_outage(client, host, clock) is Source.DECLARED


def test_a_lease_by_a_key_that_is_not_published_is_not_kept(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    host.signs_with = SEEDS[1]
    assert after_an_outage(client, host, clock) is Source.DECLARED


def test_a_lease_of_somebody_else_is_not_kept(client: Twin, host: Host, clock: VirtualClock) -> None:
    host.lease_of = lambda _token: host.lease(host.said["c/1"], Subject.CUSTOMER, "c/1")
    assert after_an_outage(client, host, clock) is Source.DECLARED


def test_a_lease_of_another_issuer_is_not_kept_when_one_was_named(
    make: Callable[..., Twin], host: Host, clock: VirtualClock
) -> None:
    assert after_an_outage(make(issuer="https://elsewhere.test"), host, clock) is Source.DECLARED


def test_keys_are_read_once_and_again_when_a_lease_names_a_new_one(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    for _ in range(3):
        client.access("c2")
        clock.advance(timedelta(seconds=20))
    assert host.asked.count("/.well-known/jwks.json") == 1
    host.signs_with, host.published = SEEDS[1], [*host.published, SEEDS[1]]
    host.change("c2")
    assert after_an_outage(client, host, clock) is Source.LEASE
    assert host.asked.count("/.well-known/jwks.json") == 2


def test_tokens_with_invented_keys_do_not_make_the_keys_be_read_each_time(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    good = host.lease(host.said["c2"], Subject.CUSTOMER, "c2")
    assert client.verify_lease(good).subject == "c2"
    host.signs_with = SEEDS[1]
    for _ in range(5):
        with pytest.raises(LeaseInvalid, match="not known"):
            client.verify_lease(host.lease(host.said["c2"], Subject.CUSTOMER, "c2"))
    assert host.asked == ["/.well-known/jwks.json"]
    clock.advance(timedelta(seconds=10))
    host.published = [SEEDS[1]]
    client.verify_lease(host.lease(host.said["c2"], Subject.CUSTOMER, "c2"))
    with pytest.raises(LeaseInvalid, match="not known"):
        client.verify_lease(good)  # the old key has left


def test_keys_that_were_read_are_kept_while_the_host_is_out(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    token = host.lease(host.said["c2"], Subject.CUSTOMER, "c2")
    client.verify_lease(token)
    host.mode = 503
    clock.advance(LONGEST - SECOND)
    assert client.verify_lease(token).access == "full"


# --- told by webhook -------------------------------------------------------------------------------------------------


def told(said: dict[str, Any], at: datetime) -> AccessChanged:
    version = said["version"]
    new = Access.of_decision(said, subject=said["customer"], as_of=at, version=version)
    return AccessChanged(
        id="msg_1",
        type="access.changed",
        at=at,
        data={},
        customer=new.subject,
        version=version,
        old=None,
        new=new,
    )


def test_a_change_that_was_told_makes_the_older_lease_void(
    make: Callable[..., Twin], host: Host, clock: VirtualClock
) -> None:
    client = make(on_outage="last_known")
    assert client.access("c2").allowed
    host.change("c2", access="none")
    assert client.heard(told(host.said["c2"], clock.now()))
    host.mode = 503
    answer = client.access("c2")
    assert (answer.allowed, answer.source, answer.version) == (False, Source.LAST_KNOWN, 2)


def test_a_change_that_was_told_is_asked_about_once_more(
    client: Twin, host: Host, clock: VirtualClock
) -> None:
    client.access("c2")
    host.change("c2", access="none")
    event = told(host.said["c2"], clock.now())
    host.change("c2", access="limited")  # the host is ahead of the webhook
    client.heard(event)
    assert client.access("c2").access is Level.LIMITED


def test_what_is_told_twice_or_late_changes_nothing(client: Twin, host: Host, clock: VirtualClock) -> None:
    first = told(host.said["c2"], clock.now())
    host.change("c2", access="none")
    second = told(host.said["c2"], clock.now())
    assert [client.heard(event) for event in (second, second, first)] == [True, False, False]
    client.access("c2")
    assert not client.heard(second)
    assert client.access("c2").source is Source.CACHED


def test_a_change_of_a_customer_is_one_of_the_subscriptions_too(
    make: Callable[..., Twin], host: Host, clock: VirtualClock
) -> None:
    client = make(on_outage="last_known")
    host.said["acme:s1"] = decision("c2")
    assert client.subscription_access("acme:s1").allowed
    host.change("c2", subscriptions={"acme:s1": {"state": "ended", "access": "none"}})
    client.heard(told(host.said["c2"], clock.now()))
    host.mode = 503
    answer = client.subscription_access("acme:s1")
    assert (answer.allowed, answer.state) == (False, "ended")


def test_an_answer_that_was_overtaken_by_a_webhook_does_not_come_back(
    make: Callable[..., Twin], host: Host, clock: VirtualClock
) -> None:
    client = make(on_outage="last_known")
    old = dict(host.said["c2"])

    def overtaken(token: str) -> str:
        client.heard(told({**old, "version": 2, "access": "none"}, clock.now()))
        return token

    host.lease_of = overtaken
    assert not client.access("c2").allowed
    host.mode = 503
    clock.advance(SECOND)
    assert (client.access("c2").allowed, client.access("c2").version) == (False, 2)


def test_a_host_that_was_set_back_is_believed(client: Twin, host: Host, clock: VirtualClock) -> None:
    host.said["c2"] = decision("c2", version=9, access="none")
    client.access("c2")
    host.said["c2"] = decision("c2", version=2)
    clock.advance(SECOND)
    assert (client.access("c2").version, client.access("c2").allowed) == (2, True)


# --- what only one of the two can do ---------------------------------------------------------------------------------


def test_a_task_that_stops_waiting_does_not_stop_the_call_for_the_others(url: str, host: Host) -> None:
    async def story() -> Access:
        async with AsyncBillhookClient(url, KEY, clock=host.clock, timeout=20) as client:
            host.gate.clear()
            impatient = asyncio.create_task(client.access("c2"))
            patient = asyncio.create_task(client.access("c2"))
            await asyncio.to_thread(host.arrived.wait, 30)
            impatient.cancel()
            await asyncio.wait([impatient])
            assert impatient.cancelled()
            host.gate.set()
            return await patient

    assert asyncio.run(story()).allowed
    assert host.asked_for_access == 1


def test_a_thread_that_is_ended_while_it_asks_leaves_the_others_to_ask(url: str, host: Host) -> None:
    class Ended(BaseException):
        """What ends a thread from outside, as a time limit does."""

    class Clock(VirtualClock):
        """Ends the first who looks while ``armed``."""

        armed = False

        def now(self) -> datetime:
            if self.armed:
                self.armed = False
                raise Ended
            return super().now()

    clock = Clock(NOW)
    with BillhookClient(url, KEY, clock=clock, timeout=20) as client:
        host.gate.clear()
        ended: list[type[BaseException]] = []

        def asks_and_is_ended() -> None:
            try:
                client.access("c2")
            except Ended:
                ended.append(Ended)

        first = threading.Thread(target=asks_and_is_ended)
        first.start()
        assert host.arrived.wait(30)
        clock.armed = True  # the next to look is the one that waits for the host, when it answers
        host.gate.set()
        first.join()
        assert ended == [Ended]
        assert client.access("c2").allowed
