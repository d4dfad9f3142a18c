"""What would change: another policy over real customers, and made-up facts over one of them. Nothing is stored."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import structlog
from flask import Response, jsonify, request
from marshmallow import fields
from werkzeug.exceptions import TooManyRequests

from billhook.access import Account, parse_policy
from billhook_web.api import access_schemas as write
from billhook_web.api.access_documents import (
    LARGEST_DOCUMENT,
    Document,
    answered_problems,
    facts_field,
    instants_field,
    policy_field,
    warnings_of,
)
from billhook_web.api.access_policies import DocumentInput
from billhook_web.api.fields import Instant, Text
from billhook_web.api.host import needs, runtime
from billhook_web.api.parsing import Blueprint
from billhook_web.db import DatabaseError
from billhook_web.services.previewing import Busy, Moved, Preview, Progress, Tally
from billhook_web.services.simulating import MOST_INSTANTS, read_what_if

log = structlog.get_logger(__name__)

blueprint = Blueprint("access-previews", __name__, description="What would change.")

NDJSON, CSV, JSON = "application/x-ndjson", "text/csv", "application/json"
MOST_IN_A_DOCUMENT = 1_000
MOST_NAMED = 10_000
RETRY_SECONDS = 30
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_HEAD = ("customer", "from", "from_access", "to", "to_access", "at", "now", "unpaid", "overdue", "why")


class PreviewInput(DocumentInput):
    """A policy, and whom it is tried on."""

    customers = fields.List(
        Text(about="Your id of a customer."),
        load_default=None,
        allow_none=True,
        metadata={
            "description": f"only these, at most {MOST_NAMED:,}; left out: everybody",
            "maxItems": MOST_NAMED,
        },
        validate=lambda named: len(named) <= MOST_NAMED,
    )
    at = Instant(about="The instant that is compared; left out: now.", load_default=None, allow_none=True)
    cursor = Text(about="For JSON: next_cursor of the answer before.", load_default=None, allow_none=True)


class WhatIfInput(Document):
    """What if these facts came?"""

    facts = facts_field("more ")
    policy = policy_field()
    at = instants_field(MOST_INSTANTS)


@blueprint.route("/access/policies/preview", methods=["POST"])
@needs("policies:read", largest=LARGEST_DOCUMENT)
@blueprint.arguments(PreviewInput)
@blueprint.response(200, write.PreviewSchema)
def preview_access_policy(said: dict[str, Any]) -> Response:
    """Say for whom another policy would change something: from what to what, when, and the balance at stake.

    Streamed as it is found, a JSON object a line: changes, progress, and a summary at the end. With `Accept: text/csv`
    the changes alone; with `Accept: application/json` one document about at most 1,000 customers, and a cursor.
    Closing the connection ends it. Two run at a time; a third is answered 429.
    """
    with answered_problems():
        policy = parse_policy(said["policy"], "policy")
    kind = request.accept_mimetypes.best_match([NDJSON, CSV, JSON], default=NDJSON)
    most = MOST_IN_A_DOCUMENT if kind == JSON else None
    try:
        preview = runtime().previewing.begin(
            policy, at=said["at"], customers=said["customers"], after=said["cursor"] or "", most=most
        )
    except Busy as exc:
        raise TooManyRequests(str(exc), retry_after=RETRY_SECONDS) from exc
    if kind == JSON:
        try:
            return _document(preview)
        finally:
            preview.close()
    response = Response(
        _csv(preview) if kind == CSV else _lines(preview), content_type=f"{kind}; charset=utf-8"
    )
    response.call_on_close(preview.close)  # also when nobody ever reads it
    return response


@blueprint.route("/customers/<any_text:customer_id>/access/what-if", methods=["POST"])
@needs("access:read", largest=LARGEST_DOCUMENT)
@blueprint.arguments(WhatIfInput)
@blueprint.response(200, write.SimulatedSchema)
def simulate_customer_access(said: dict[str, Any], customer_id: str) -> Response:
    """Decide about a customer as if more facts came, or another policy counted: at any instants, in the order asked."""
    with answered_problems():
        asked = read_what_if(said)
    case = runtime().answering.case(customer_id)
    account = Account(
        id=case.account.id, facts=(*case.account.facts, *asked.facts), timezone=case.account.timezone
    )
    decisions = [case.with_facts(account, at, policy=asked.policy, book=runtime().book) for at in asked.at]
    return jsonify(decisions=[each.to_json() for each in decisions], warnings=warnings_of(asked.warnings))


def _document(preview: Preview) -> Response:
    data = [write.moved(row) for row in preview.rows() if isinstance(row, Moved)]
    whole = preview.tally.looked_at == MOST_IN_A_DOCUMENT
    return jsonify(data=data, next_cursor=preview.last if whole else None, summary=write.tally(preview.tally))


def _lines(preview: Preview) -> Iterator[str]:
    try:
        for row in preview.rows():
            yield _line(row)
        yield _line(preview.tally)
    except DatabaseError as exc:
        log.warning("preview.failed", error=type(exc).__name__)
        yield json.dumps({"type": "error", "detail": "The database does not answer; this is not all."}) + "\n"
    finally:
        preview.close()


def _line(row: Moved | Progress | Tally) -> str:
    return json.dumps(_said(row), separators=(",", ":")) + "\n"


def _said(row: Moved | Progress | Tally) -> dict[str, Any]:
    match row:
        case Moved():
            return {"type": "change", **write.moved(row)}
        case Progress():
            return {"type": "progress", "done": row.done, "total": row.total}
        case Tally():
            return {"type": "summary", **write.tally(row)}


def _csv(preview: Preview) -> Iterator[str]:
    try:
        yield _row(_HEAD)
        for row in preview.rows():
            if isinstance(row, Moved):
                yield _row(_cells(row))
    finally:
        preview.close()


def _cells(row: Moved) -> Sequence[str]:
    said = write.moved(row)
    return (
        row.customer, row.before.state, row.before.access, row.after.state, row.after.access, said["at"],
        "yes" if row.now else "no", _amounts(row.unpaid), _amounts(row.overdue), " ".join(row.why),
    )  # fmt: skip


def _amounts(by_currency: Any) -> str:
    return " ".join(f"{amount} {currency}" for currency, amount in sorted(by_currency.items()))


def _row(cells: Sequence[str]) -> str:
    """Write a line; a cell that a spreadsheet would compute is made text."""
    to = io.StringIO()
    csv.writer(to).writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return to.getvalue()
