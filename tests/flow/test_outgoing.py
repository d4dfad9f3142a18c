"""Outgoing webhooks: whatever a receiver does, its events come signed, in order and complete, and nobody else waits."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from billhook.clock import SystemClock, monotonic, pause
from billhook_web.actors import BackgroundWork, Wake
from billhook_web.services.patience import GIVE_UP_AFTER, LONGEST_RETRY_AFTER
from billhook_web.stores import endpoints, outgoing, webhook_log
from tests.flow.flow import Backend
from tests.flow.receivers import OK, Heard, Receiver, Reply, Telling, receiving

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DOWN: Reply = (503, {}, b"down for maintenance")


@pytest.fixture
def telling(backend: Backend) -> Iterator[Telling]:
    made = Telling(backend)
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def answers(receiver: Receiver, *replies: Reply) -> None:
    """Give these answers in turn, then the last one for good."""
    left = list(replies)
    receiver.reply = lambda _heard: left.pop(0) if len(left) > 1 else left[0]


def test_an_event_arrives_signed_as_the_official_library_wants_it(
    backend: Backend, receiver: Receiver
) -> None:
    telling = Telling(backend, start=SystemClock().now())  # the library goes by the machine's clock
    try:
        endpoint_id, secret = telling.add(receiver.url)
        telling.publish("c1", 1)
        telling.settle()
        (heard,) = receiver.heard
        told = Webhook(secret).verify(heard.body, dict(heard.headers))
        assert set(told) == {"type", "timestamp", "data"}
        assert (told["type"], told["data"]) == ("access.changed", {"customer": "c1", "n": 1})
        assert heard.headers["content-type"] == "application/json"
        assert telling.statuses(endpoint_id) == ["delivered"]
    finally:
        telling.close()


def test_a_working_host_sends_by_itself_and_goes_on_when_a_receiver_hangs(
    telling: Telling, receiver: Receiver
) -> None:
    done = threading.Event()
    work = BackgroundWork(telling.runtime, Wake(telling.runtime), sweep_seconds=0.02)
    with receiving() as hanging:
        hanging.reply = lambda _heard: (done.wait(60), OK)[1]
        telling.add(hanging.url)
        telling.add(receiver.url)
        work.start()
        try:
            telling.publish("c1", 1, 2, 3)
            telling.publish("c2", 1, 2, 3)
            latest = monotonic() + 50
            while len(receiver.heard) < 6 and monotonic() < latest:
                pause(0.01)
            assert receiver.numbers("c1") == receiver.numbers("c2") == [1, 2, 3]
            assert hanging.numbers("c1") in ([], [1])
        finally:
            done.set()
            work.stop(timeout=20)


def test_both_secrets_sign_until_the_overlap_of_a_rotation_ends(backend: Backend, receiver: Receiver) -> None:
    telling = Telling(backend, start=SystemClock().now())
    try:
        endpoint_id, before = telling.add(receiver.url)
        _, after = telling.runtime.receivers.rotate(endpoint_id, overlap=2 * MINUTE, note=telling.note)
        telling.publish("c1", 1)
        telling.settle()
        telling.clock.advance(2 * MINUTE)
        telling.publish("c1", 2)
        telling.settle()
        during, later = receiver.heard
        for secret in (before, after):
            Webhook(secret).verify(during.body, dict(during.headers))
        Webhook(after).verify(later.body, dict(later.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(before).verify(later.body, dict(later.headers))
    finally:
        telling.close()


def test_a_receiver_that_is_down_for_a_day_gets_everything_in_order(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    answers(receiver, DOWN)
    for hour in range(24):
        telling.publish("c1", hour)
        telling.publish("c2", hour)
        telling.skip(HOUR, step=10 * MINUTE)
    assert telling.endpoint(endpoint_id).enabled
    assert len(receiver.heard) < 24 * 60 / 5  # it is asked every five minutes at most, however much waits
    receiver.heard.clear()
    answers(receiver, OK)
    telling.skip(3 * HOUR, step=10 * MINUTE)
    assert receiver.numbers("c1") == receiver.numbers("c2") == list(range(24))
    assert set(telling.statuses(endpoint_id)) == {"delivered"}
    assert telling.endpoint(endpoint_id).failing_since is None


def test_a_later_event_waits_for_the_earlier_one_of_its_customer_only(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)

    def poisoned(heard: Heard) -> Reply:
        return DOWN if heard.data == {"customer": "c1", "n": 1} else OK

    receiver.reply = poisoned
    telling.publish("c1", 1, 2, 3)
    telling.publish("c2", 1, 2)
    telling.settle()
    telling.skip(MINUTE, step=timedelta(seconds=10))
    assert set(receiver.numbers("c1")) == {1}
    assert receiver.numbers("c2") == [1, 2]
    assert telling.statuses(endpoint_id) == ["pending", "waiting", "waiting", "delivered", "delivered"]


def test_one_event_nobody_can_take_is_given_up_after_three_days_and_the_next_goes(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    receiver.reply = lambda heard: DOWN if heard.data == {"customer": "c1", "n": 1} else OK
    telling.publish("c1", 1, 2)
    telling.settle()
    for day in range(3):
        telling.skip(12 * HOUR)
        telling.publish("c2", day)  # the endpoint works
        telling.skip(12 * HOUR)
    telling.skip(HOUR)
    assert receiver.numbers("c1")[-1] == 2
    assert 20 <= receiver.numbers("c1").count(1) <= 60
    assert telling.statuses(endpoint_id)[:2] == ["given_up", "delivered"]
    assert telling.endpoint(endpoint_id).enabled
    receiver.reply = lambda _heard: OK
    first = telling.deliveries(endpoint_id)[0]
    telling.runtime.receivers.redeliver_one(endpoint_id, message_id=first.key, note=telling.note)
    telling.settle()
    assert receiver.heard[-1].id == first.key
    assert telling.statuses(endpoint_id)[0] == "delivered"


def test_an_endpoint_nothing_reaches_for_three_days_is_disabled_and_gets_all_when_enabled_again(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    answers(receiver, DOWN)
    telling.publish("c1", 1, 2)
    telling.publish("c2", 1)
    telling.skip(GIVE_UP_AFTER + HOUR)
    found = telling.endpoint(endpoint_id)
    assert (found.status, found.reason) == ("disabled", "failing")
    assert found.notice is not None
    assert "3 days" in found.notice
    telling.publish("c1", 3)
    asked = len(receiver.heard)
    telling.skip(DAY)
    assert len(receiver.heard) == asked  # it is left alone
    assert telling.statuses(endpoint_id) == ["held"] * 4
    receiver.heard.clear()
    answers(receiver, OK)
    telling.switch(endpoint_id, on=True)
    telling.settle()
    assert receiver.numbers("c1") == [1, 2, 3]
    assert receiver.numbers("c2") == [1]
    assert telling.statuses(endpoint_id) == ["delivered"] * 4


def test_a_receiver_that_is_gone_is_disabled_at_once(telling: Telling, receiver: Receiver) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    answers(receiver, (410, {}, b"gone"))
    telling.publish("c1", 1, 2)
    telling.settle()
    telling.skip(DAY)
    assert len(receiver.heard) == 1
    found = telling.endpoint(endpoint_id)
    assert (found.status, found.reason) == ("disabled", "gone")
    assert telling.statuses(endpoint_id) == ["held", "held"]


def test_a_redirect_is_not_followed(telling: Telling, receiver: Receiver) -> None:
    with receiving() as elsewhere:
        endpoint_id, _ = telling.add(receiver.url)
        answers(receiver, (302, {"Location": elsewhere.url}, b""))
        telling.publish("c1", 1)
        telling.settle()
        assert elsewhere.heard == []
        (attempt,) = telling.attempts(endpoint_id)
        assert (attempt.status_code, attempt.outcome) == (302, "failed")
        assert "redirects are not followed" in attempt.error
        assert telling.statuses(endpoint_id) == ["pending"]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_any_other_refusal_is_tried_again_with_the_same_id_and_body(
    telling: Telling, receiver: Receiver, status: int
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    answers(receiver, (status, {}, b"no"), OK)
    telling.publish("c1", 1)
    telling.settle()
    telling.skip(MINUTE)
    first, second = receiver.heard
    assert (first.id, first.body) == (second.id, second.body)
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert [each.response for each in telling.attempts(endpoint_id)] == ["no", "thanks"]


@pytest.mark.parametrize(("asked", "granted"), [("1200", 20 * MINUTE), ("604800", LONGEST_RETRY_AFTER)])
def test_a_receiver_says_when_to_come_back_within_reason(
    telling: Telling, receiver: Receiver, asked: str, granted: timedelta
) -> None:
    telling.add(receiver.url)
    answers(receiver, (429, {"Retry-After": asked}, b""), OK)
    telling.publish("c1", 1)
    telling.settle()
    telling.publish("c2", 1)  # it has too much to do: others wait, too
    telling.skip(granted - MINUTE, step=MINUTE)
    assert len(receiver.heard) == 1
    telling.skip(granted, step=MINUTE)  # chance lengthens a wait by a fifth at most
    assert receiver.numbers("c1") == [1, 1]
    assert receiver.numbers("c2") == [1]


def test_a_receiver_that_answers_too_slowly_has_failed(backend: Backend, receiver: Receiver) -> None:
    telling = Telling(backend, seconds=1.0)
    done = threading.Event()
    try:
        endpoint_id, _ = telling.add(receiver.url)
        receiver.reply = lambda _heard: (done.wait(60), OK)[1]
        telling.publish("c1", 1)
        telling.settle()
        (attempt,) = telling.attempts(endpoint_id)
        assert attempt.status_code is None
        assert "did not answer within 1 s" in attempt.error
        assert telling.statuses(endpoint_id) == ["pending"]
    finally:
        done.set()
        telling.close()


def test_a_name_that_leads_to_this_machine_is_never_called(backend: Backend, receiver: Receiver) -> None:
    port = receiver.url.rsplit(":", 1)[1].partition("/")[0]
    telling = Telling(backend, allow=(), resolve=lambda _host, _port: ["127.0.0.1"])
    try:
        endpoint_id, _ = telling.add(f"https://hooks.example.com:{port}/")
        telling.publish("c1", 1)
        telling.settle()
        assert receiver.heard == []
        (attempt,) = telling.attempts(endpoint_id)
        assert "private or reserved" in attempt.error
        assert telling.statuses(endpoint_id) == ["pending"]
    finally:
        telling.close()


def test_a_name_is_asked_for_once_and_its_answer_is_what_is_called(
    backend: Backend, receiver: Receiver
) -> None:
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    telling = Telling(backend, allow=("hooks.example.com", "127.0.0.1"), resolve=rebinding)
    try:
        port = receiver.url.rsplit(":", 1)[1].partition("/")[0]
        telling.add(f"http://hooks.example.com:{port}/here?a=b")
        telling.publish("c1", 1)
        telling.settle()
        assert asked == ["hooks.example.com"]
        (heard,) = receiver.heard
        assert heard.headers["host"] == f"hooks.example.com:{port}"
        assert heard.path == "/here?a=b"
    finally:
        telling.close()


def test_what_was_sent_and_not_recorded_is_sent_again_with_the_same_id(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    telling.publish("c1", 1, 2)
    with telling.runtime.db.begin() as tx:  # a process takes the first, sends it, and is killed
        taken = outgoing.claim(tx, endpoint_id, now=telling.clock.now(), lease=2 * MINUTE)
    assert taken is not None
    telling.sender(receiver.url, headers={"webhook-id": taken.key}, body=taken.body.encode())
    telling.settle()
    assert len(receiver.heard) == 1  # it may still be at it, and the second waits behind it
    telling.skip(3 * MINUTE, step=MINUTE)
    assert receiver.numbers("c1") == [1, 1, 2]
    assert receiver.heard[0].id == receiver.heard[1].id
    assert telling.statuses(endpoint_id) == ["delivered", "delivered"]


def test_a_result_that_comes_after_another_took_over_changes_nothing(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    telling.publish("c1", 1)
    with telling.runtime.db.begin() as tx:
        late = outgoing.claim(tx, endpoint_id, now=telling.clock.now(), lease=MINUTE)
    telling.clock.advance(2 * MINUTE)
    telling.settle()
    assert late is not None
    with telling.runtime.db.begin() as tx:
        now = telling.clock.now()
        outgoing.postpone(tx, late, now=now, due_at=now, error="too late")
    assert telling.statuses(endpoint_id) == ["delivered"]


def test_events_from_a_time_on_are_told_again_in_order_and_those_never_planned_too(
    telling: Telling, receiver: Receiver
) -> None:
    first_id, _ = telling.add(receiver.url)
    telling.publish("c1", 1)
    telling.clock.advance(HOUR)
    since = telling.clock.now()
    telling.publish("c1", 2, 3)
    telling.settle()
    with receiving() as later:
        later_id, _ = telling.add(later.url)
        again = telling.runtime.receivers.redeliver_since
        assert again(later_id, since=since, delivered_too=False, note=telling.note) == 2
        telling.publish("c1", 4)
        telling.settle()
        assert later.numbers("c1") == [2, 3, 4]
        assert again(later_id, since=since, delivered_too=False, note=telling.note) == 0
        assert again(first_id, since=since, delivered_too=True, note=telling.note) == 3
        telling.settle()
        assert receiver.numbers("c1") == [1, 2, 3, 4, 2, 3, 4]


def test_a_hanging_receiver_delays_no_other(telling: Telling, receiver: Receiver) -> None:
    done = threading.Event()
    with receiving() as hanging:
        hanging.reply = lambda _heard: (done.wait(60), OK)[1]
        hanging_id, _ = telling.add(hanging.url)
        telling.publish("c1", *range(3))
        telling.publish("c2", *range(3))
        work = telling.runtime.dispatcher.work
        threads = [threading.Thread(target=work, args=(hanging_id,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        threads[0].join(timeout=0.05)
        try:
            endpoint_id, _ = telling.add(receiver.url)
            telling.publish("c1", 7, 8)
            work(endpoint_id)
            assert receiver.numbers("c1") == [7, 8]
            assert len(hanging.heard) <= 2  # at most two at a time
        finally:
            done.set()
            for thread in threads:
                thread.join(timeout=60)


def test_deleting_an_endpoint_ends_what_is_on_its_way_and_forgets_its_secret(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    telling.publish("c1", 1)
    telling.runtime.receivers.delete(endpoint_id, note=telling.note)
    telling.publish("c1", 2)
    telling.settle()
    assert receiver.heard == []
    assert telling.statuses(endpoint_id) == ["canceled"]


def test_old_messages_are_pruned_and_those_still_to_be_delivered_stay(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    telling.publish("c1", 1, 2)
    telling.settle()
    answers(receiver, DOWN)
    telling.publish("c1", 3)
    telling.settle()
    later = telling.clock.now() + DAY

    def prune() -> int:
        with telling.runtime.db.begin() as tx:
            return webhook_log.prune(tx, before=later, limit=1)

    assert [prune(), prune(), prune()] == [1, 1, 0]
    assert telling.statuses(endpoint_id) == ["pending"]


def test_a_secret_whose_key_is_missing_delays_and_loses_nothing(telling: Telling, receiver: Receiver) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    with telling.runtime.db.begin() as tx:
        kept = endpoints.get(tx, endpoint_id)
        assert kept is not None
        endpoints.change(tx, endpoint_id, now=telling.clock.now(), secret="bhs1.000000000000.AAAA")
    telling.publish("c1", 1)
    telling.skip(5 * DAY, step=6 * HOUR)
    assert receiver.heard == []
    assert telling.endpoint(endpoint_id).enabled
    with telling.runtime.db.begin() as tx:
        endpoints.change(tx, endpoint_id, now=telling.clock.now(), secret=kept.secret)
    telling.skip(HOUR)
    assert receiver.numbers("c1") == [1]


def test_what_a_receiver_answers_is_kept_in_part_and_without_control_characters(
    telling: Telling, receiver: Receiver
) -> None:
    endpoint_id, _ = telling.add(receiver.url)
    answers(receiver, (500, {}, b"\x00\x1b[31m" + b"a" * 100_000))
    telling.publish("c1", 1)
    telling.settle()
    (attempt,) = telling.attempts(endpoint_id)
    assert len(attempt.response) == 1024
    assert attempt.response.startswith("\ufffd\ufffd[31ma")
    assert json.dumps(attempt.response)
