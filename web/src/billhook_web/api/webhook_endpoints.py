"""Outgoing webhooks: who receives them, and what was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import marshmallow as ma
from flask import Response, jsonify
from marshmallow import fields, validate

from billhook.dunning import parse_duration
from billhook.errors import NotFound
from billhook_web.api import webhook_schemas as write
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice, Instant, Text
from billhook_web.api.host import host, needs, note_action, runtime
from billhook_web.api.paging import LARGEST_ID, ById, answer_page, cut, encode, filter_text
from billhook_web.api.parsing import Blueprint, Input, invalid
from billhook_web.services.publishing import SUBSCRIBABLE
from billhook_web.services.receivers import LONGEST_OVERLAP, OVERLAP, Changes, UrlUnusable
from billhook_web.stores import endpoints, webhook_log
from billhook_web.stores.endpoints import Endpoint, EndpointStatus
from billhook_web.stores.outgoing import DeliveryStatus

T = TypeVar("T")

blueprint = Blueprint("webhook-endpoints", __name__, description="Who is told of changes.")

_ONE = f"/webhook-endpoints/<int(max={LARGEST_ID}):endpoint_id>"
_SHOWN = (EndpointStatus.ENABLED, EndpointStatus.DISABLED)
_ABOUT_TYPES = "What to tell it of; left out or null: everything, also what is added later."


class Duration(fields.Field[timedelta]):
    """A span of time, ISO 8601."""

    def __init__(self, *, about: str, **kwargs: Any) -> None:
        super().__init__(metadata={"description": about, "type": "string"}, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> timedelta:
        try:
            return parse_duration(value if isinstance(value, str) else "")
        except ValueError as exc:
            raise ma.ValidationError("Write it as PT12H or P1D (ISO 8601).") from exc


def _event_types() -> fields.List[Any]:
    return fields.List(
        Choice(SUBSCRIBABLE, about="A type of event."),
        allow_none=True,
        validate=validate.Length(min=1, max=100, error="Name at least one, or leave it out for all."),
        metadata={"description": _ABOUT_TYPES},
    )


def _url(**options: Any) -> Text:
    about = "Where to send: https, and a public address unless BILLHOOK_WEBHOOK_ALLOW_HOSTS opens others."
    return Text(about=about, longest=2048, **options)


class EndpointInput(Input):
    """A new endpoint."""

    url = _url(required=True)
    description = fields.String(
        load_default="", validate=validate.Length(max=255), metadata={"description": "For people."}
    )
    event_types = _event_types()
    enabled = fields.Boolean(
        load_default=True, metadata={"description": "False: what it would be sent is held."}
    )


class EndpointChanges(Input):
    """What is to be different. What is left out stays."""

    url = _url()
    description = fields.String(validate=validate.Length(max=255), metadata={"description": "For people."})
    event_types = _event_types()
    enabled = fields.Boolean(metadata={"description": "True also forgets past failures, as enable does."})


class RotateInput(Input):
    """How to rotate."""

    overlap = Duration(
        about="How long the secret before signs, too, as an ISO 8601 duration, at most P30D; left out: P1D.",
        load_default=None,
    )


class RedeliverInput(Input):
    """What to send again: one of the two."""

    message_id = Text(about="One message, whatever came of it.", longest=64)
    since = Instant(about="What it has not got of the events from then on.")
    include_delivered = fields.Boolean(
        load_default=False, metadata={"description": "With since: also what it has got."}
    )


class EndpointsQuery(ById):
    """Which endpoints."""

    status = Choice(_SHOWN, about="Only these.", load_default=None)


class DeliveriesQuery(ById):
    """Which deliveries."""

    status = Choice(DeliveryStatus, about="How far it has come.", load_default=None)
    customer = filter_text("Your own id of the customer it is about.")


@blueprint.route("/webhook-endpoints")
@needs("webhooks:read")
@blueprint.arguments(EndpointsQuery, location="query")
@blueprint.response(200, page(write.WebhookEndpointSchema))
def list_webhook_endpoints(query: dict[str, Any]) -> Response:
    """List endpoints, the newest first."""
    limit, before = query.pop("limit"), query.pop("cursor")
    with runtime().db.read() as tx:
        rows = endpoints.page(tx, **query, before_id=before, limit=limit + 1)
        shown, last = cut(rows, limit)
        counts = webhook_log.undelivered(tx, [row.id for row in shown])
    data = [write.endpoint(row, undelivered=counts[row.id]) for row in shown]
    return answer_page(data, encode(last.id) if last else None)


@blueprint.route("/webhook-endpoints", methods=["POST"])
@needs("webhooks:write")
@blueprint.arguments(EndpointInput)
@blueprint.response(201, write.WebhookEndpointWithSecretSchema)
def create_webhook_endpoint(said: dict[str, Any]) -> Response:
    """Add an endpoint. The answer shows its secret, this once.

    A URL can be added once: sending the same request again is a conflict and changes nothing.
    """
    said["event_types"] = said.get("event_types") or ()
    _check_description(said)
    made, secret = _with_url(lambda: runtime().receivers.create(**said, note=note_action))
    return _answer(made, status=201, secret=secret)


@blueprint.route(_ONE)
@needs("webhooks:read")
@blueprint.response(200, write.WebhookEndpointSchema)
def get_webhook_endpoint(endpoint_id: int) -> Response:
    """Show an endpoint."""
    return _answer(_find(endpoint_id))


@blueprint.route(_ONE, methods=["PATCH"])
@needs("webhooks:write")
@blueprint.arguments(EndpointChanges)
@blueprint.response(200, write.WebhookEndpointSchema)
def change_webhook_endpoint(said: dict[str, Any], endpoint_id: int) -> Response:
    """Change an endpoint. Another URL gets what is undelivered, too."""
    if "event_types" in said:
        said["event_types"] = said["event_types"] or ()
    _check_description(said)
    changed = _with_url(lambda: runtime().receivers.change(endpoint_id, Changes(**said), note=note_action))
    host().wake.webhooks([endpoint_id])
    return _answer(changed)


@blueprint.route(_ONE, methods=["DELETE"])
@needs("webhooks:write")
@blueprint.response(204)
def delete_webhook_endpoint(endpoint_id: int) -> Response:
    """Remove an endpoint. What it has not got is canceled, and its secret is forgotten."""
    runtime().receivers.delete(endpoint_id, note=note_action)
    return Response(status=204)


@blueprint.route(f"{_ONE}/enable", methods=["POST"])
@needs("webhooks:write")
@blueprint.response(200, write.WebhookEndpointSchema)
def enable_webhook_endpoint(endpoint_id: int) -> Response:
    """Enable an endpoint again. What was held is sent, in order; one that is enabled stays as it is."""
    enabled = runtime().receivers.change(endpoint_id, Changes(enabled=True), note=note_action)
    host().wake.webhooks([endpoint_id])
    return _answer(enabled)


@blueprint.route(f"{_ONE}/rotate-secret", methods=["POST"])
@needs("webhooks:write")
@blueprint.arguments(RotateInput)
@blueprint.response(200, write.WebhookEndpointWithSecretSchema)
def rotate_webhook_secret(said: dict[str, Any], endpoint_id: int) -> Response:
    """Give an endpoint a new secret, shown this once. During the overlap both sign every webhook."""
    overlap: timedelta = OVERLAP if said["overlap"] is None else said["overlap"]
    if overlap > LONGEST_OVERLAP:
        raise invalid("overlap", f"It is longer than P{LONGEST_OVERLAP.days}D.")
    rotated, secret = runtime().receivers.rotate(endpoint_id, overlap=overlap, note=note_action)
    return _answer(rotated, secret=secret)


@blueprint.route(f"{_ONE}/test", methods=["POST"])
@needs("webhooks:write")
@blueprint.response(202, write.WebhookTestSchema)
def send_test_webhook(endpoint_id: int) -> Response:
    """Send a test event (`webhook.test`) now; the deliveries say what came of it."""
    message_id = runtime().receivers.test(endpoint_id, note=note_action)
    host().wake.webhooks([endpoint_id])
    return _accepted(message_id=message_id)


@blueprint.route(f"{_ONE}/redeliver", methods=["POST"])
@needs("webhooks:write")
@blueprint.arguments(RedeliverInput)
@blueprint.response(202, write.RedeliverySchema)
def redeliver_webhooks(said: dict[str, Any], endpoint_id: int) -> Response:
    """Send messages again, with the same ids and in order: one of them, or what was missed since an instant."""
    if ("message_id" in said) == ("since" in said):
        raise invalid("since", "Send either since or message_id.")
    receivers = runtime().receivers
    if "message_id" in said:
        number = receivers.redeliver_one(endpoint_id, message_id=said["message_id"], note=note_action)
    else:
        number = receivers.redeliver_since(
            endpoint_id, since=said["since"], delivered_too=said["include_delivered"], note=note_action
        )
    host().wake.webhooks([endpoint_id])
    return _accepted(message_count=number)


@blueprint.route(f"{_ONE}/deliveries")
@needs("webhooks:read")
@blueprint.arguments(DeliveriesQuery, location="query")
@blueprint.response(200, page(write.WebhookDeliverySchema))
def list_webhook_deliveries(query: dict[str, Any], endpoint_id: int) -> Response:
    """List what was sent to an endpoint or waits for it, the newest first, with every attempt and its answer."""
    _find(endpoint_id)
    limit, before = query.pop("limit"), query.pop("cursor")
    with runtime().db.read() as tx:
        rows = webhook_log.page(tx, endpoint_id=endpoint_id, **query, before_id=before, limit=limit + 1)
        shown, last = cut(rows, limit)
        attempts = webhook_log.attempts_of(tx, [row.id for row in shown])
    data = [write.delivery(row, attempts[row.id]) for row in shown]
    return answer_page(data, encode(last.id) if last else None)


def _find(endpoint_id: int) -> Endpoint:
    with runtime().db.read() as tx:
        found = endpoints.get(tx, endpoint_id)
    if found is None:
        raise NotFound("There is no such webhook endpoint here.")
    return found


def _with_url(do: Callable[[], T]) -> T:
    try:
        return do()
    except UrlUnusable as exc:
        raise invalid("url", str(exc)) from exc


def _check_description(said: Mapping[str, Any]) -> None:
    """It may be empty, unlike other texts."""
    if said.get("description"):
        try:
            Text(about="").deserialize(said["description"])
        except ma.ValidationError as exc:
            raise invalid("description", "It has control characters.") from exc


def _answer(row: Endpoint, *, status: int = 200, **more: str) -> Response:
    with runtime().db.read() as tx:
        undelivered = webhook_log.undelivered(tx, [row.id])[row.id]
    response = jsonify({**write.endpoint(row, undelivered=undelivered), **more})
    response.status_code = status
    return response


def _accepted(**said: object) -> Response:
    response = jsonify(said)
    response.status_code = 202
    return response
