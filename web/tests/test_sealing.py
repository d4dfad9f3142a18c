"""Secrets at rest: sealed for one purpose, opened by every key that is configured, shown by none."""

from __future__ import annotations

import pytest

from billhook.errors import ConfigInvalid, SealBroken, Unsupported
from billhook_web.sealing import NO_KEY, Sealer, new_key
from billhook_web.settings import read_configuration

PLAIN = "clé-of-the-provider-0123456789"


def test_what_is_sealed_opens_for_its_purpose_and_no_other() -> None:
    sealer = Sealer.of([new_key()])
    sealed = sealer.seal(PLAIN, purpose="connection:acme:api_key")
    assert PLAIN not in sealed
    assert sealer.open(sealed, purpose="connection:acme:api_key") == PLAIN
    with pytest.raises(SealBroken, match="connection:other:api_key was changed or belongs elsewhere"):
        sealer.open(sealed, purpose="connection:other:api_key")


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    sealer = Sealer.of([new_key()])
    assert sealer.seal(PLAIN, purpose="p") != sealer.seal(PLAIN, purpose="p")


def test_the_first_key_seals_and_all_open() -> None:
    old, new = new_key(), new_key()
    sealed = Sealer.of([old]).seal(PLAIN, purpose="p")
    both = Sealer.of([new, old])
    assert both.open(sealed, purpose="p") == PLAIN
    assert both.can_open(sealed)
    assert not both.is_current(sealed)
    again = both.seal(PLAIN, purpose="p")
    assert both.is_current(again)
    assert Sealer.of([new]).open(again, purpose="p") == PLAIN


def test_a_missing_key_is_named_by_its_id_and_nothing_is_shown() -> None:
    sealed = Sealer.of([new_key()]).seal(PLAIN, purpose="p")
    with pytest.raises(SealBroken) as raised:
        Sealer.of([new_key()]).open(sealed, purpose="p")
    assert sealed.split(".")[1] in str(raised.value)
    assert PLAIN not in str(raised.value)
    assert sealed not in str(raised.value)


def test_a_changed_value_does_not_open() -> None:
    sealer = Sealer.of([new_key()])
    sealed = sealer.seal(PLAIN, purpose="p")
    head, key_id, body = sealed.split(".")
    flipped = ("B" if body[20] == "A" else "A").join((body[:20], body[21:]))
    for broken in (
        f"{head}.{key_id}.{flipped}",
        f"{head}.{key_id}.",
        f"{head}.{key_id}.AAAA",
        sealed[:-4],
        PLAIN,
        "",
    ):
        with pytest.raises(SealBroken):
            sealer.open(broken, purpose="p")


def test_without_a_key_nothing_is_sealed_and_the_way_out_is_told() -> None:
    sealer = read_configuration({}).host.sealer()
    assert not sealer.ready
    with pytest.raises(
        Unsupported, match="BILLHOOK_SECRET_KEY is not set: make a key with 'billhook secrets new-key'"
    ) as raised:
        sealer.seal(PLAIN, purpose="p")
    assert raised.value.code == NO_KEY
    assert PLAIN not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("correct horse battery staple", "no"),
        ("c2hvcnQ", "not 32 bytes or more"),
        ("A" * 43, "repeats itself"),
        (f"{new_key()},c2hvcnQ", "not 32 bytes or more"),
    ],
    ids=["words", "short", "repeated", "second short"],
)
def test_a_key_that_is_none_is_refused_at_start_up_without_showing_it(key: str, why: str) -> None:
    with pytest.raises(ConfigInvalid) as raised:
        read_configuration({"BILLHOOK_SECRET_KEY": key})
    (problem,) = raised.value.problems
    assert problem.where == "BILLHOOK_SECRET_KEY"
    assert why in problem.what
    assert "billhook secrets new-key" in problem.what
    assert key.split(",")[-1] not in str(problem)


def test_keys_show_nowhere() -> None:
    key, other = new_key(), new_key()
    configuration = read_configuration({"BILLHOOK_SECRET_KEY": f"{key},{other}"})
    text = f"{configuration!r} {configuration.host!r} {configuration.host.sealer()!r}"
    assert key not in text
    assert other not in text
    assert {key, other} <= set(configuration.host.secrets())
