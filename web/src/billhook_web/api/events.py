"""What was received: every delivery, what it told us, and having it processed again."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from billhook.errors import NotFound
from billhook_web.api import operation_serialise as serialise
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice, Text
from billhook_web.api.host import host, needs, note_action, runtime
from billhook_web.api.operation_schemas import EventDetailSchema, EventSchema, ReplayedSchema
from billhook_web.api.paging import LARGEST_ID, ById, answer_page, cut, encode, filter_text
from billhook_web.api.parsing import Blueprint, Input
from billhook_web.stores import inbox, lookup
from billhook_web.stores.inbox import InboxStatus

REPLAY_AT_MOST = 500

blueprint = Blueprint("events", __name__, description="What was received.")

_ONE = f"/events/<int(max={LARGEST_ID}):event_id>"


class EventsQuery(ById):
    """Which deliveries."""

    connection = filter_text("The connection it came through.")
    status = Choice(InboxStatus, about="How far it has come.", load_default=None)
    type = filter_text("The sender's word for it.")


class EventQuery(Input):
    """What to show of a delivery."""

    include = Choice(("body",), about="body: also as it was received.", load_default=None)


class ReplayInput(Input):
    """Which deliveries to process again."""

    status = Choice((InboxStatus.DEAD,), about="Those that were given up.", required=True)
    connection = Text(about="Only of this connection.", load_default=None)


@blueprint.route("/events")
@needs("events:read")
@blueprint.arguments(EventsQuery, location="query")
@blueprint.response(200, page(EventSchema))
def list_events(query: dict[str, Any]) -> Response:
    """List deliveries, the newest first."""
    limit, before = query.pop("limit"), query.pop("cursor")
    with runtime().db.read() as tx:
        rows = inbox.page(tx, **query, before_id=before, limit=limit + 1)
    shown, last = cut(rows, limit)
    return answer_page([serialise.event(row) for row in shown], encode(last.id) if last else None)


@blueprint.route(_ONE)
@needs("events:read")
@blueprint.arguments(EventQuery, location="query")
@blueprint.response(200, EventDetailSchema)
def get_event(query: dict[str, Any], event_id: int) -> Response:
    """Show a delivery and the facts it told us first."""
    with runtime().db.read() as tx:
        row = inbox.get(tx, event_id)
        if row is None:
            raise NotFound("There is no such event here.")
        facts = [serialise.fact(fact) for fact in lookup.facts_of_delivery(tx, event_id)]
    wanted = query["include"] == "body" and row.has_body
    body = row.body.decode("utf-8", "replace") if wanted else None
    return jsonify({**serialise.event(row), "facts": facts, "body": body})


@blueprint.route(f"{_ONE}/replay", methods=["POST"])
@needs("events:write")
@blueprint.response(202, EventSchema)
def replay_event(event_id: int) -> Response:
    """Process a delivery again, whatever became of it. Facts that are known already change nothing."""
    with runtime().db.begin() as tx:
        if inbox.replay(tx, event_id, now=runtime().clock.now()):
            note_action(tx, "event.replay", event_id)
        row = inbox.get(tx, event_id)
    if row is None:
        raise NotFound("There is no such event here.")
    host().wake.inbox(event_id)
    response = jsonify(serialise.event(row))
    response.status_code = 202
    return response


@blueprint.route("/events/replay", methods=["POST"])
@needs("events:write")
@blueprint.arguments(ReplayInput)
@blueprint.response(202, ReplayedSchema, description=f"At most {REPLAY_AT_MOST} at a time.")
def replay_events(said: dict[str, Any]) -> Response:
    """Process again what was given up, the newest first."""
    with runtime().db.begin() as tx:
        rows = inbox.page(tx, **said, limit=REPLAY_AT_MOST + 1)
        chosen = [row.id for row in rows[:REPLAY_AT_MOST]]
        for event_id in chosen:
            inbox.replay(tx, event_id, now=runtime().clock.now())
        note_action(tx, "event.replay_all", said["connection"] or "all connections", **said, ids=chosen)
    for event_id in chosen:
        host().wake.inbox(event_id)
    response = jsonify(replayed=len(chosen), more=len(rows) > REPLAY_AT_MOST)
    response.status_code = 202
    return response
