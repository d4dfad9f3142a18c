"""Reading policies and facts from a body: the core checks them whole and names every problem with its JSON path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import marshmallow as ma
from marshmallow import fields
from werkzeug.exceptions import RequestEntityTooLarge

from billhook.access import FACT_TYPES, FactsInvalid, PolicyInvalid, Problem, reader
from billhook_web.api.parsing import InvalidInput
from billhook_web.services.simulating import MOST_FACTS, SimulationInvalid, TooMuch

LARGEST_DOCUMENT: Final = 8 * 1024 * 1024
"""Bytes of a body with facts: as many facts as are taken, with long names, fit in."""

NAMED: Final = 5
"""Problems named in the sentence; all are in the list."""

_UNCLEAN: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")


class Document(ma.Schema):
    """Base of bodies that the core reads by itself: taken as they come, described by their fields."""

    def load(self, data: Any, **_options: Any) -> Any:
        """Return the object as it is.

        :raises marshmallow.ValidationError: it is no object.    :raises InvalidInput: a text in it cannot be written.
        """
        if not isinstance(data, Mapping):
            raise ma.ValidationError("Send an object.")
        wrong = [Problem(path=path, message="has control characters.") for path in _unclean(data)]
        if wrong:
            raise invalid_document(wrong)
        return data


class DocumentInvalid(InvalidInput):
    """A policy or facts cannot be used. The sentence names the first few problems, the list every one."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        errors = [problem_json(problem) for problem in problems]
        super().__init__(errors)
        more = f" and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
        named = "; ".join(f"{each['field']}: {each['message']}" for each in errors[:NAMED])
        self.description = f"{named}{more}"


class OverLimit(RequestEntityTooLarge):
    """More is asked than is answered in one call; ``members`` has the limit."""

    def __init__(self, exc: TooMuch) -> None:
        super().__init__(str(exc))
        self.members = {"limit": exc.limit}


def invalid_document(problems: Iterable[Problem]) -> DocumentInvalid:
    """Return what to raise when a policy or facts cannot be used."""
    return DocumentInvalid(problems)


@contextmanager
def answered_problems() -> Iterator[None]:
    """Answer what the core finds wrong: 422 with every problem, 413 with the limit."""
    try:
        yield
    except (SimulationInvalid, PolicyInvalid, FactsInvalid) as exc:
        raise invalid_document(exc.problems) from exc
    except TooMuch as exc:
        raise OverLimit(exc) from exc


def problem_json(problem: Problem) -> dict[str, Any]:
    """Write one problem as the API's errors have it; ``field`` is the JSON path."""
    written: dict[str, Any] = {"field": problem.path, "message": problem.message}
    if problem.did_you_mean:
        written["message"] += f" Did you mean {problem.did_you_mean!r}?"
        written["did_you_mean"] = problem.did_you_mean
    if problem.allowed:
        written["allowed"] = list(problem.allowed)
    return written


def warnings_of(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Write what is allowed and still looks like a slip."""
    return [problem_json(problem) for problem in problems]


def policy_field(*, required: bool = False) -> fields.Dict:
    """Document a policy."""
    about = "the [access] table of a policy as JSON; see how-to/access-policies"
    return fields.Dict(required=required, metadata={"description": about}, validate=_check_clean)


def facts_field(about: str = "") -> fields.List[Any]:
    """Document a list of facts."""
    said = f"{about}dated facts: `at`, `type` and the keys of the type ({', '.join(FACT_TYPES)})"
    return fields.List(fields.Dict(), required=True, metadata={"description": said, "maxItems": MOST_FACTS})


def instants_field(most: int, *, required: bool = True) -> fields.List[Any]:
    """Document a list of instants."""
    return fields.List(
        fields.String(metadata={"format": "date-time"}),
        required=required,
        metadata={"description": "ISO 8601 with an offset", "maxItems": most},
    )


def _check_clean(document: Mapping[str, Any]) -> None:
    if any(True for _ in _unclean(document)):
        raise ma.ValidationError("It has control characters.")


def _unclean(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield where texts are that cannot be stored or written."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            if _UNCLEAN.search(value):
                yield path
        elif isinstance(value, Mapping):
            if any(_UNCLEAN.search(key) for key in value):
                yield path
                continue
            waiting += ((reader.join(path, key), each) for key, each in value.items())
        elif isinstance(value, list):
            waiting += ((f"{path}[{index}]", each) for index, each in enumerate(value))
