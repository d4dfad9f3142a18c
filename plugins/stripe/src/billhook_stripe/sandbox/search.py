"""Stripe's search: one query language over customers, PaymentIntents and charges.

A query is clauses side by side, or joined by ``AND`` or by ``OR``, never by both. A clause is a field, an operator and a
value: ``status:'succeeded'``, ``amount>1000``, ``name~'acme'``, ``metadata['ours']:'acct_1'``. A ``-`` before it turns it
round, and ``null`` finds what has no value. Stripe's search may be a minute behind what was written, hours in an outage:
:attr:`billhook_stripe.sandbox.Settings.search_delay` says how young a thing may be before it is found. A thing that is
found is shown, and compared, as it is now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from .errors import Json, invalid
from .forms import Shape
from .routing import EXPAND, MOST, Call, expanded
from .world import World

SEARCHING: Final[Shape] = EXPAND | {"query": str, "limit": int, "page": str}
"""The parameters of every search."""

MOST_CLAUSES: Final = 10
LEAST_LETTERS: Final = 3
"""A part of a text that is looked for by ``~`` has at least so many letters."""


class Kind(StrEnum):
    """What a field holds, and so which operators it knows: a number compares, a text has parts, a word is equal."""

    NUMBER = "number"
    TEXT = "text"
    WORD = "word"


Fields = Mapping[str, Kind]

CUSTOMER_FIELDS: Final[Fields] = {
    "created": Kind.NUMBER,
    "email": Kind.TEXT,
    "metadata": Kind.WORD,
    "name": Kind.TEXT,
    "phone": Kind.TEXT,
}
INTENT_FIELDS: Final[Fields] = {
    "amount": Kind.NUMBER,
    "created": Kind.NUMBER,
    "currency": Kind.WORD,
    "customer": Kind.WORD,
    "metadata": Kind.WORD,
    "status": Kind.WORD,
}
CHARGE_FIELDS: Final[Fields] = {
    **INTENT_FIELDS,
    "billing_details.address.postal_code": Kind.WORD,
    "disputed": Kind.WORD,
    "payment_method_details.card.brand": Kind.WORD,
    "payment_method_details.card.exp_month": Kind.WORD,
    "payment_method_details.card.exp_year": Kind.WORD,
    "payment_method_details.card.fingerprint": Kind.WORD,
    "payment_method_details.card.last4": Kind.WORD,
    "refunded": Kind.WORD,
}

_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_CLAUSE: Final = re.compile(
    rf"""
    (?P<minus>-)?
    (?P<field>[a-z_]+[a-z0-9_.]*)
    (?:\[(?P<key>{_TEXT})\])?
    (?P<operator>>=|<=|[:~<>=])
    (?:(?P<text>{_TEXT})|(?P<number>-?[0-9]{{1,15}})|(?P<null>null))
    (?=\s|$)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_COMPARE: Final[Mapping[str, Callable[[int, int], bool]]] = {
    ":": int.__eq__,
    "=": int.__eq__,
    ">": int.__gt__,
    ">=": int.__ge__,
    "<": int.__lt__,
    "<=": int.__le__,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One condition. ``key`` is that of the metadata; ``value`` None asks for what has none."""

    field: str
    key: str | None
    operator: str
    value: str | int | None
    negated: bool

    def holds(self, thing: Json) -> bool:
        """Say whether an object meets it."""
        return self._meets(self._found(thing)) is not self.negated

    def _found(self, thing: Json) -> Any:
        found: Any = thing
        for name in self.field.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found.get(self.key) if self.key is not None else found

    def _meets(self, found: Any) -> bool:
        if self.value is None or found is None:
            return self.value is None and found is None
        if isinstance(self.value, int):
            return _COMPARE[self.operator](found, self.value)
        word, wanted = _word(found), self.value.casefold()
        return wanted in word if self.operator == "~" else wanted == word


def searched(call: Call, things: Iterable[Json], fields: Fields, *, url: str) -> Json:
    """Answer a search: newest first, page by page, each naming the next.

    :raises ApiError: the query, the limit or the page cannot be used.
    """
    holds = parsed_query(call.params["query"], fields)
    limit = call.params.get("limit", 10)
    if not 1 <= limit <= MOST:
        raise invalid(f"Limit must be between 1 and {MOST}", param="limit")
    rows = [each for each in things if _is_indexed(call.world, each) and holds(each)][::-1]
    start = _start(call.params.get("page"), rows)
    shown, more = rows[start : start + limit], len(rows) > start + limit
    expand = [path.removeprefix("data.") for path in call.params.get("expand") or []]
    return {
        "object": "search_result",
        "data": [expanded(call.world, each, expand) for each in shown],
        "has_more": more,
        "next_page": f"after_{shown[-1]['id']}" if more else None,
        "url": url,
    }


def _is_indexed(world: World, thing: Json) -> bool:
    """Say whether the search has a thing yet; what has a time of its own, by a test clock, it has at once."""
    owner = thing["id"] if thing["object"] == "customer" else thing["customer"]
    latest = (world.now() - world.settings.search_delay).timestamp()
    return world.clock_of(owner) is not None or bool(thing["created"] <= latest)


def parsed_query(query: str, fields: Fields) -> Callable[[Json], bool]:
    """Return the test that a query is.

    :raises ApiError: it cannot be read, names a field that is not searched, or asks one what it does not know.
    """
    clauses, joined = _split(query)
    read = [_clause(match, fields) for match in clauses]
    if len(joined) > 1:
        raise _unreadable("AND and OR cannot be combined in one query")
    if len(read) > MOST_CLAUSES:
        raise _unreadable(f"it has more than {MOST_CLAUSES} clauses")
    meet = any if joined == {"or"} else all
    return lambda thing: meet(clause.holds(thing) for clause in read)


def _split(query: str) -> tuple[list[re.Match[str]], set[str]]:
    """Return the clauses and by what they are joined; clauses side by side are joined by ``and``."""
    clauses: list[re.Match[str]] = []
    joined: set[str] = set()
    rest = query.strip()
    while rest:
        match = _CLAUSE.match(rest)
        if match is None:
            raise _unreadable(f"nothing can be made of {rest[:40]!r}")
        clauses.append(match)
        rest, word = _after(rest[match.end() :].lstrip())
        if word and not rest:
            raise _unreadable("it ends in AND or OR")
        if rest:
            joined.add(word or "and")
    if not clauses:
        raise _unreadable("it is empty")
    return clauses, joined


def _after(rest: str) -> tuple[str, str]:
    """Return what follows a clause without the word that joins it, and that word; empty when there is none."""
    word, _, further = rest.partition(" ")
    if word.casefold() in ("and", "or"):
        return further.lstrip(), word.casefold()
    return rest, ""


def _clause(match: re.Match[str], fields: Fields) -> Clause:
    field, operator = match["field"], match["operator"]
    kind = fields.get(field)
    if kind is None:
        raise _unreadable(f"Field `{field}` is not searched. Allowed are {', '.join(sorted(fields))}")
    if (match["key"] is not None) is not (field == "metadata"):
        raise _unreadable("metadata is searched as metadata['key'], and nothing else has a key")
    value = _value(match, kind)
    allowed = {Kind.NUMBER: tuple(_COMPARE), Kind.TEXT: (":", "~"), Kind.WORD: (":",)}[kind]
    if operator not in allowed or (value is None and operator != ":"):
        raise _unreadable(f"Field `{field}` is a {kind}: it knows {' '.join(allowed)}")
    if operator == "~" and len(str(value)) < LEAST_LETTERS:
        raise _unreadable(f"a part of a text has at least {LEAST_LETTERS} letters")
    key = _unquoted(match["key"]) if match["key"] else None
    return Clause(field=field, key=key, operator=operator, value=value, negated=match["minus"] is not None)


def _value(match: re.Match[str], kind: Kind) -> str | int | None:
    if match["null"]:
        return None
    given = _unquoted(match["text"]) if match["text"] else match["number"]
    if kind is not Kind.NUMBER:
        return given
    if not re.fullmatch(r"-?[0-9]{1,15}", given):
        raise _unreadable(f"Field `{match['field']}` is a number, {given!r} is none")
    return int(given)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _word(found: Any) -> str:
    return ("true" if found else "false") if isinstance(found, bool) else str(found).casefold()


def _start(page: str | None, rows: list[Json]) -> int:
    if page is None:
        return 0
    places = {f"after_{each['id']}": at + 1 for at, each in enumerate(rows)}
    if page not in places:
        raise invalid("This page is not one that the search has named.", param="page")
    return places[page]


def _unreadable(why: str) -> Exception:
    return invalid(f"We were unable to parse your search query: {why}.", param="query")
