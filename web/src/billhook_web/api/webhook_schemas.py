"""What the API says about outgoing webhooks, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence

import marshmallow as ma

from billhook_web.api.describing import choice, flag, instant, many, text, whole, words
from billhook_web.api.serialise import Plain
from billhook_web.api.serialise import instant as written
from billhook_web.services.publishing import SUBSCRIBABLE
from billhook_web.stores.endpoints import Because, Endpoint
from billhook_web.stores.outgoing import AttemptRow, DeliveryStatus
from billhook_web.stores.webhook_log import DeliveryRow


class WebhookEndpointSchema(ma.Schema):
    """Who receives webhooks."""

    id = whole("")
    url = text()
    description = text()
    event_types = words("what it is told of")
    enabled = flag("false: what it would be sent is held")
    disabled_reason = choice(Because, "operator; gone: it answered 410; failing: for three days", null=True)
    disabled_at = instant(null=True)
    notice = text("why the host disabled it, and what to do", null=True)
    failure_count = whole("attempts that failed, in a row")
    failing_since = instant("the first of them", null=True)
    resume_at = instant("nothing is sent before: it failed too often in a row", null=True)
    undelivered_count = whole("messages that are pending, waiting or held")
    previous_secret_until = instant("until then the secret before signs, too", null=True)
    created_at = instant()
    updated_at = instant()


class WebhookEndpointWithSecretSchema(WebhookEndpointSchema):
    """Who receives webhooks, with the secret that signs them: it is shown this once."""

    secret = text("whsec_ and base64")


class WebhookAttemptSchema(ma.Schema):
    """One try at a delivery."""

    at = instant()
    milliseconds = whole("")
    outcome = text("delivered or failed")
    status_code = whole("None: there was no answer", null=True)
    response = text("the beginning of the answer", null=True)
    error = text(null=True)


class WebhookDeliverySchema(ma.Schema):
    """One message to one endpoint."""

    id = whole("")
    endpoint_id = whole("")
    message_id = text("webhook-id, the same for every attempt")
    type = text()
    customer_id = text("your own id", null=True)
    status = choice(
        DeliveryStatus, "waiting: behind an earlier one of this customer; held: the endpoint is disabled"
    )
    due_at = instant("of a pending one: when it is tried", null=True)
    attempt_count = whole("")
    created_at = instant()
    finished_at = instant(null=True)
    error = text("what came of the last attempt", null=True)
    attempts = many(WebhookAttemptSchema)


class WebhookTestSchema(ma.Schema):
    """A test event that is on its way."""

    message_id = text("webhook-id")


class RedeliverySchema(ma.Schema):
    """What is sent again."""

    message_count = whole("")


def endpoint(row: Endpoint, *, undelivered: int) -> Plain:
    """Write an endpoint, without its secret."""
    return {
        "id": row.id,
        "url": row.url,
        "description": row.description,
        "event_types": list(row.event_types or SUBSCRIBABLE),
        "enabled": row.enabled,
        "disabled_reason": row.reason,
        "disabled_at": written(row.disabled_at),
        "notice": row.notice,
        "failure_count": row.failures,
        "failing_since": written(row.failing_since),
        "resume_at": written(row.resume_at),
        "undelivered_count": undelivered,
        "previous_secret_until": written(row.previous_until),
        "created_at": written(row.created_at),
        "updated_at": written(row.updated_at),
    }


def delivery(row: DeliveryRow, attempts: Sequence[AttemptRow]) -> Plain:
    """Write a delivery with every try at it."""
    return {
        "id": row.id,
        "endpoint_id": row.endpoint_id,
        "message_id": row.key,
        "type": row.type,
        "customer_id": row.customer_id,
        "status": row.status,
        "due_at": written(row.due_at) if row.status is DeliveryStatus.PENDING else None,
        "attempt_count": row.attempts,
        "created_at": written(row.created_at),
        "finished_at": written(row.finished_at),
        "error": row.error,
        "attempts": [_attempt(each) for each in attempts],
    }


def _attempt(row: AttemptRow) -> Plain:
    return {
        "at": written(row.at),
        "milliseconds": row.milliseconds,
        "outcome": row.outcome,
        "status_code": row.status_code,
        "response": row.response,
        "error": row.error,
    }
