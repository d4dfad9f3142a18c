"""What every webhook source must do: take what its provider signed, and nothing else, and survive whatever comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billhook.errors import PayloadInvalid, SignatureInvalid
from billhook.events import Event, Refetch
from billhook.provider import Delivery, ProviderInfo, WebhookRequest, WebhookSource
from billhook.testing.connection import START
from billhook.testing.contracts.bodies import HOSTILE_BODIES, damaged, dumped, leaves, variants
from billhook.testing.contracts.facts import check_storable

Sign = Callable[[bytes, datetime], WebhookRequest]
Said = Sequence[Event | Refetch]

REFETCH = "refetch"
"""How :attr:`Sample.expect` names a :class:`Refetch`."""

SHARED_FIXTURES = settings(
    max_examples=50,
    deadline=None,
    # The fixtures are values that no example changes, and each subclass runs the inherited test.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A body as the provider sends it, and the types of what it means: ``("payment.succeeded",)``, ``("refetch",)``."""

    name: str
    body: bytes = field(repr=False)
    expect: tuple[str, ...]


class WebhookSourceContract:
    """The suite. Fill in ``source``, ``signed``, ``samples`` and ``unknown_body``; set the two attributes.

    ``signature_header``: the header (lower-case) that holds the signature and nothing else.
    ``tolerance``: how old a request may be; None when the provider signs no time.
    """

    signature_header: str
    tolerance: timedelta | None = timedelta(minutes=5)
    now: datetime = START

    @pytest.fixture
    def source(self) -> WebhookSource:
        """The source, made with a context that calls nothing: ``make_context(name, settings)``."""
        raise NotImplementedError("fill in the fixture `source`")

    @pytest.fixture
    def signed(self) -> Sign:
        """``signed(body, now)``: the request the provider would send at ``now``, with the headers that matter."""
        raise NotImplementedError("fill in the fixture `signed`")

    @pytest.fixture
    def samples(self) -> Sequence[Sample]:
        """Bodies as the provider sends them, at least one of each type the source understands."""
        raise NotImplementedError("fill in the fixture `samples`")

    @pytest.fixture
    def unknown_body(self) -> bytes:
        """A well-formed body of an event type that the source does not know."""
        raise NotImplementedError("fill in the fixture `unknown_body`")

    # --- who it is ---------------------------------------------------------------------------------------------

    def test_the_source_keeps_the_protocol(self, source: WebhookSource) -> None:
        """It has the operations and says who it is."""
        assert isinstance(source, WebhookSource)
        assert source.connection
        assert isinstance(source.info, ProviderInfo)

    # --- verify ------------------------------------------------------------------------------------------------

    def test_a_right_signature_gives_the_same_delivery_every_time(
        self, source: WebhookSource, signed: Sign, samples: Sequence[Sample]
    ) -> None:
        """Redelivered, a request is known again by its key."""
        for sample in samples:
            request = signed(sample.body, self.now)
            delivery = source.verify(request, now=self.now)
            assert isinstance(delivery, Delivery)
            assert delivery.key, f"{sample.name}: a delivery needs a key"
            assert source.verify(request, now=self.now) == delivery

    def test_a_body_that_was_changed_is_refused(
        self, source: WebhookSource, signed: Sign, samples: Sequence[Sample]
    ) -> None:
        """One byte is enough, anywhere; so is one that is missing or added."""
        request = signed(samples[0].body, self.now)
        for body in damaged(request.body):
            with pytest.raises(SignatureInvalid):
                source.verify(replace(request, body=body), now=self.now)

    def test_a_signature_that_was_changed_is_refused(
        self, source: WebhookSource, signed: Sign, samples: Sequence[Sample]
    ) -> None:
        """Any character of it."""
        request = signed(samples[0].body, self.now)
        good = request.headers[self.signature_header]
        changed = [good[:at] + ("!" if good[at] == "~" else "~") + good[at + 1 :] for at in range(len(good))]
        for bad in ["", " ", "ü", good[:-1], good[: len(good) // 2], good[::-1], *changed]:
            headers = {**request.headers, self.signature_header: bad}
            with pytest.raises(SignatureInvalid):
                source.verify(replace(request, headers=headers), now=self.now)

    def test_a_signature_of_another_body_is_refused(
        self, source: WebhookSource, signed: Sign, samples: Sequence[Sample], unknown_body: bytes
    ) -> None:
        """Being the provider's is not enough."""
        other = signed(unknown_body, self.now)
        with pytest.raises(SignatureInvalid):
            source.verify(replace(other, body=samples[0].body), now=self.now)

    def test_a_request_without_signature_is_refused(
        self, source: WebhookSource, signed: Sign, samples: Sequence[Sample]
    ) -> None:
        """No headers, no signature header, nothing at all."""
        request = signed(samples[0].body, self.now)
        unsigned = {name: value for name, value in request.headers.items() if name != self.signature_header}
        for headers, body in (
            (unsigned, request.body),
            ({}, request.body),
            ({}, b""),
            (request.headers, b""),
        ):
            with pytest.raises(SignatureInvalid):
                source.verify(WebhookRequest(headers=headers, body=body), now=self.now)

    def test_without_any_one_header_a_request_is_taken_or_refused_in_the_one_way(
        self, source: WebhookSource, signed: Sign, samples: Sequence[Sample]
    ) -> None:
        """A header that is missing or empty is no crash."""
        request = signed(samples[0].body, self.now)
        for name in request.headers:
            rest = {other: value for other, value in request.headers.items() if other != name}
            for headers in (rest, {**rest, name: ""}):
                _taken_or_refused(source, replace(request, headers=headers), self.now)

    def test_a_request_that_is_too_old_or_from_the_future_is_refused(
        self, source: WebhookSource, signed: Sign, samples: Sequence[Sample]
    ) -> None:
        """A captured request cannot be sent again later."""
        if self.tolerance is None:
            pytest.skip("the provider signs no time")
        request = signed(samples[0].body, self.now)
        for away in (self.tolerance + timedelta(seconds=2), timedelta(days=3650)):
            for moment in (self.now + away, self.now - away):
                with pytest.raises(SignatureInvalid):
                    source.verify(request, now=moment)

    @SHARED_FIXTURES
    @given(data=st.data())
    def test_whatever_a_stranger_sends_is_refused_in_the_one_way(
        self, source: WebhookSource, signed: Sign, samples: Sequence[Sample], data: st.DataObject
    ) -> None:
        """Garbage under the provider's own header names, and under others."""
        known = signed(samples[0].body, self.now).headers
        names = st.sampled_from(sorted(known)) | st.text(max_size=20)
        values = st.text(max_size=60) | st.sampled_from(sorted(known.values()))
        headers = data.draw(st.dictionaries(names, values, max_size=6))
        body = data.draw(st.binary(max_size=200).filter(lambda drawn: drawn != samples[0].body))
        with pytest.raises(SignatureInvalid):
            source.verify(WebhookRequest(headers=headers, body=body), now=self.now)

    # --- parse -------------------------------------------------------------------------------------------------

    def test_every_sample_means_what_is_expected_each_time(
        self, source: WebhookSource, samples: Sequence[Sample]
    ) -> None:
        """Parsing is a function of the bytes."""
        assert samples, "give at least one sample"
        for sample in samples:
            said = source.parse(sample.body)
            assert _types(said) == sample.expect, sample.name
            assert list(source.parse(sample.body)) == list(said), (
                f"{sample.name} means another thing each time"
            )

    def test_an_unknown_type_means_nothing(self, source: WebhookSource, unknown_body: bytes) -> None:
        """Providers add types; they are kept and ignored."""
        assert list(source.parse(unknown_body)) == []

    @pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES)
    def test_a_body_that_is_no_event_is_invalid(self, source: WebhookSource, body: bytes) -> None:
        """Signed by the right sender, and still not readable: it is dead-lettered, not a crash."""
        with pytest.raises(PayloadInvalid):
            source.parse(body)

    def test_unknown_fields_do_not_matter(self, source: WebhookSource, samples: Sequence[Sample]) -> None:
        """Providers add fields."""
        for sample in samples:
            extended = {**json.loads(sample.body), "field_of_tomorrow": {"a": [1]}}
            for name, value in extended.items():
                if isinstance(value, dict):
                    extended[name] = {**value, "field_of_tomorrow": "x"}
            assert list(source.parse(dumped(extended))) == list(source.parse(sample.body)), sample.name

    def test_a_field_that_is_missing_or_of_another_kind_is_no_crash(
        self, source: WebhookSource, samples: Sequence[Sample]
    ) -> None:
        """Of the two upper levels: the body is invalid, or means something."""
        for sample in samples:
            for what, body in variants(json.loads(sample.body)):
                try:
                    source.parse(body)
                except PayloadInvalid:
                    continue
                except Exception as exc:  # noqa: BLE001 - any other is exactly what this test is for
                    pytest.fail(f"{sample.name} with {what}: {type(exc).__name__}: {exc}")

    def test_facts_are_our_own_and_well_formed(
        self, source: WebhookSource, samples: Sequence[Sample]
    ) -> None:
        """Refs carry the connection's name, amounts are whole, instants are UTC, and all of it can be stored."""
        for sample in samples:
            for fact in source.parse(sample.body):
                if isinstance(fact, Refetch):
                    continue
                check_storable(fact, connection=source.connection, where=sample.name)
                for path, value in leaves(fact):
                    assert not isinstance(value, float), f"{sample.name}: {path} is a float"
                    if isinstance(value, datetime):
                        assert value.utcoffset() == timedelta(0), f"{sample.name}: {path} is not in UTC"


def _types(said: Said) -> tuple[str, ...]:
    return tuple(REFETCH if isinstance(each, Refetch) else each.type for each in said)


def _taken_or_refused(source: WebhookSource, request: WebhookRequest, now: datetime) -> None:
    try:
        delivery = source.verify(request, now=now)
    except SignatureInvalid:
        return
    assert delivery.key
