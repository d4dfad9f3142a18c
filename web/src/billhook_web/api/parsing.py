"""Reading requests: every field that is wrong is named at once, with what is allowed, and nothing unknown is taken."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import flask
import marshmallow as ma
from flask_smorest import Blueprint as SmorestBlueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnprocessableEntity, UnsupportedMediaType


class Told(str):
    """A message about a field that also says what would have been ``allowed``."""

    allowed: tuple[str, ...]

    def __new__(cls, message: str, *, allowed: Iterable[str]) -> Told:
        """Make the message."""
        told = super().__new__(cls, message)
        told.allowed = tuple(allowed)
        return told


class InvalidInput(UnprocessableEntity):
    """A body or query that cannot be used. ``members`` go into the problem."""

    name = "Invalid input"

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        fields = ", ".join(sorted({str(error["field"]) for error in errors if error["field"]}))
        super().__init__(f"Not usable: {fields}." if fields else "Not usable.")
        self.members = {"errors": list(errors)}


class BodyTooLarge(RequestEntityTooLarge):
    """A body of more bytes than are taken; ``members`` has the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"A body may have at most {limit:,} bytes here.")
        self.members = {"limit": limit}


def invalid(field: str, message: str, *, allowed: Iterable[str] | None = None) -> InvalidInput:
    """Return what to raise when one field is found wrong after parsing."""
    extra = {} if allowed is None else {"allowed": list(allowed)}
    return InvalidInput([{"field": field, "message": message, **extra}])


class Input(ma.Schema):
    """Base of every body and query: refuses unknown fields and names the one that was probably meant."""

    class Meta:
        """Nothing is ignored silently."""

        unknown = ma.RAISE

    def handle_error(self, error: ma.ValidationError, data: Any, *, many: bool, **kwargs: Any) -> None:
        """Say of each unknown field which ones there are."""
        known = sorted(field.data_key or name for name, field in self.fields.items())
        messages = error.messages
        if not isinstance(messages, dict):
            return
        for name, said in messages.items():
            if said == [self.error_messages["unknown"]]:
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else "it does not exist."
                messages[name] = [Told(f"Unknown: {hint}", allowed=known)]


class _Parser(FlaskParser):
    """Raises :class:`InvalidInput` with every error."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": ma.RAISE}  # noqa: RUF012 - as its base has it

    def load_json(self, req: flask.Request, schema: ma.Schema) -> Any:
        """Refuse a body that does not call itself JSON, instead of taking it for none."""
        try:
            if not req.is_json and req.get_data(cache=True):
                raise UnsupportedMediaType("Send JSON, and say so: Content-Type: application/json.")
            return super().load_json(req, schema)
        except RequestEntityTooLarge as exc:
            raise BodyTooLarge(req.max_content_length or 0) from exc
        except (RecursionError, ValueError) as exc:  # nested too deep, a number of thousands of digits
            raise BadRequest("The body is JSON that nobody could mean.") from exc

    def _handle_invalid_json_error(
        self, error: json.JSONDecodeError | UnicodeDecodeError, req: flask.Request, *args: Any, **kwargs: Any
    ) -> NoReturn:
        raise BadRequest("The body is not valid JSON.")

    def handle_error(
        self,
        error: ma.ValidationError,
        req: flask.Request,
        schema: ma.Schema,
        *,
        error_status_code: int | None,
        error_headers: Any,
    ) -> Any:
        """Flatten marshmallow's tree: one entry per message, with the path of its field."""
        messages = error.messages if isinstance(error.messages, dict) else {"": error.messages}
        raise InvalidInput([each for tree in messages.values() for each in _flat(tree, ())])


def _flat(tree: Any, path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    match tree:
        case Mapping():
            for name, branch in tree.items():
                yield from _flat(branch, path if name == "_schema" else (*path, str(name)))
        case list():
            for each in tree:
                yield from _flat(each, path)
        case _:
            told = {"allowed": list(tree.allowed)} if isinstance(tree, Told) else {}
            yield {"field": ".".join(path), "message": str(tree), **told}


class Blueprint(SmorestBlueprint):
    """A group of routes that reads requests with our parser."""

    ARGUMENTS_PARSER = _Parser()


def is_clean(text: str) -> bool:
    """Say whether a text can be stored and shown: no control characters, no halves of a character."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
