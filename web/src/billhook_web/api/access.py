"""Access: may this customer, or this subscription, use the product now, why, and until when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Response, jsonify, request
from marshmallow import fields

from billhook.access.facts import written
from billhook.errors import NotFound
from billhook.model import Subscription
from billhook_web.api import access_schemas as write
from billhook_web.api.access_documents import answered_problems
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice, Instant, Text
from billhook_web.api.host import needs, runtime
from billhook_web.api.paging import ById, answer_page, cut, encode
from billhook_web.api.parsing import Blueprint, Input, invalid, is_clean
from billhook_web.api.things import find_subscription
from billhook_web.services.answering import MOST_CUSTOMERS, Told, matches, of_subscription, tell, told
from billhook_web.services.simulating import TooMuch
from billhook_web.stores import access as decisions
from billhook_web.stores import ledger

blueprint = Blueprint("access", __name__, description="Who may use the product, why, and until when.")


class AccessQuery(Input):
    """How to answer."""

    at = Instant(about="Another instant, past or to come; left out: now.", load_default=None)
    lease = Choice(
        ("0", "1"), about="1: with a signed token that holds without asking again.", load_default="0"
    )


class CustomersInput(Input):
    """Whose access."""

    customers = fields.List(
        Text(about="Your id of a customer."),
        required=True,
        metadata={"maxItems": MOST_CUSTOMERS, "description": "ids"},
    )


class HistoryQuery(ById):
    """Which changes."""

    at = Instant(about="Only the change that counted at this instant.", load_default=None)


@blueprint.route("/customers/<any_text:customer_id>/access")
@needs("access:read")
@blueprint.arguments(AccessQuery, location="query")
@blueprint.response(200, write.AnswerSchema)
@blueprint.alt_response(304, description="It is as the ETag says.", success=True)
def get_customer_access(query: dict[str, Any], customer_id: str) -> Response:
    """Say whether a customer may use the product, why, and until when.

    The answer holds for a second at most, and never past `next_change_at`: then ask again, with If-None-Match.
    """
    _check(query, customer_id)
    if query["at"] is not None:
        return jsonify({**runtime().answering.at(customer_id, query["at"]).to_json(), "version": None})
    stored = runtime().answering.now(customer_id)
    now = runtime().clock.now()
    lease = None
    if query["lease"] == "1":
        lease = runtime().leasing.sign(stored.body, version=stored.version, now=now)
    return _answer(told(stored, now=now), lease)


@blueprint.route("/subscriptions/<any_text:ref>/access")
@needs("access:read")
@blueprint.arguments(AccessQuery, location="query")
@blueprint.response(200, write.SubscriptionAnswerSchema)
@blueprint.alt_response(304, description="It is as the ETag says.", success=True)
def get_subscription_access(query: dict[str, Any], ref: str) -> Response:
    """Say what a subscription gives access to: its customer's decision, with its own state, access and reasons."""
    found = find_subscription(ref)
    _check(query, found.customer_id)
    answering = runtime().answering
    if query["at"] is not None:
        decision = answering.at(found.customer_id, query["at"]).to_json()
        return jsonify({**_of(found, decision), "version": None})
    stored = answering.now(found.customer_id)
    now, body = runtime().clock.now(), _of(found, stored.body)
    lease = None
    if query["lease"] == "1":
        lease = runtime().leasing.sign(body, version=stored.version, now=now, subscription=ref)
    ends = [each for each in (stored.next_change_at, stored.fresh_until) if each is not None]
    text = json.dumps(body, separators=(",", ":"))
    return _answer(tell(text, version=stored.version, ends=min(ends, default=None), now=now), lease)


@blueprint.route("/access/query", methods=["POST"])
@needs("access:read")
@blueprint.arguments(CustomersInput)
@blueprint.response(200, write.AnswersSchema)
def query_access(said: dict[str, Any]) -> Response:
    """Say whether many customers may use the product: at most 1,000 a call, each once, in the order asked."""
    asked = said["customers"]
    with answered_problems():
        if len(asked) > MOST_CUSTOMERS:
            raise TooMuch(limit=MOST_CUSTOMERS, of="customers", asked=len(asked))
    found, unknown = runtime().answering.many(asked)
    at = written(runtime().clock.now())
    answers = [{**each.body, "at": at, "version": each.version} for each in found]
    return jsonify(decisions=answers, unknown=unknown)


@blueprint.route("/customers/<any_text:customer_id>/access/history")
@needs("access:read")
@blueprint.arguments(HistoryQuery, location="query")
@blueprint.response(200, page(write.TransitionSchema))
def list_access_history(query: dict[str, Any], customer_id: str) -> Response:
    """List how a customer's access changed, the newest first, each with its reasons and the facts behind it."""
    _check_known(customer_id)
    limit = 1 if query["at"] is not None else query["limit"]
    with runtime().db.read() as tx:
        rows = decisions.history(
            tx,
            customer_id,
            before_version=query["cursor"],
            since=query["since"],
            until=query["until"],
            at=query["at"],
            limit=limit + 1,
        )
        shown, last = cut(rows, limit)
        facts = ledger.called(tx, [key for row in shown for key in row.facts])
    data = [write.transition(row, facts) for row in shown]
    return answer_page(data, encode(last.version) if last and query["at"] is None else None)


def _of(subscription: Subscription, body: Mapping[str, Any]) -> dict[str, Any]:
    coming = None
    if body["next_change_at"] is not None:
        at = datetime.fromisoformat(body["next_change_at"])
        coming = runtime().answering.case(subscription.customer_id).decide(at)
    return of_subscription(body, subscription.external_id, coming)


def _answer(answer: Told, lease: str | None) -> Response:
    headers = {
        "ETag": answer.tag,
        "Cache-Control": f"private, max-age={answer.kept_for(runtime().clock.now())}",
    }
    if matches(answer.tag, request.headers.get("If-None-Match", "")):
        return Response(status=304, headers=headers)
    text = answer.text if lease is None else f'{answer.text[:-1]},"lease":{json.dumps(lease)}}}'
    return Response(text, content_type="application/json", headers=headers)


def _check(query: Mapping[str, Any], customer_id: str) -> None:
    if query["at"] is not None and query["lease"] == "1":
        raise invalid("lease", "A lease is about now: leave out at.")
    if not is_clean(customer_id):
        raise NotFound("There is no such customer here.")


def _check_known(customer_id: str) -> None:
    if is_clean(customer_id):
        runtime().answering.check(customer_id)
    else:
        raise NotFound("There is no such customer here.")
