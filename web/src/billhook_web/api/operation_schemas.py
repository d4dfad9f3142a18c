"""What the API answers about its own work, as documented: events, effects, connections, problems.

:mod:`billhook_web.api.operation_serialise` makes it; the tests hold every answer against this.
"""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields

from billhook.provider import Severity
from billhook_web.api.describing import choice, flag, free, instant, many, text, thing, whole, words
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.outbox import EffectStatus


class EventSchema(ma.Schema):
    """One delivery that was received."""

    id = whole("")
    connection = text()
    key = text("the sender's id of the delivery")
    type = text("the sender's word for it")
    status = choice(InboxStatus)
    attempt_count = whole("")
    new_facts = whole("facts it told us first")
    received_at = instant()
    due_at = instant("when it is processed (again)", null=True)
    processed_at = instant(null=True)
    error = text(null=True)


class FactSchema(ma.Schema):
    """What a delivery told us, in our words."""

    type = text()
    at = instant(null=True)
    subject = thing("what it is about")
    values = free("what it says")


class EventDetailSchema(EventSchema):
    """A delivery with what it told us."""

    facts = many(FactSchema)
    body = text("as it was received; only with include=body", null=True)


class ReplayedSchema(ma.Schema):
    """What a replay of many came to."""

    replayed = whole("deliveries that are processed again")
    more = flag("there are more: call again")


class EffectSchema(ma.Schema):
    """Something that has to happen, and how far it has come."""

    id = whole("")
    key = text("unique: planning it again is the same effect")
    kind = text()
    lane = text("effects of one lane follow each other")
    subject = text("the invoice's ref or the customer's id")
    status = choice(EffectStatus)
    due_at = instant()
    attempt_count = whole("")
    created_at = instant()
    finished_at = instant(null=True)
    unknown_since = instant("when it was first tried without an answer; settled: null", null=True)
    note = text(null=True)
    error = text(null=True)
    values = free("what is to be done")


class EffectAttemptSchema(ma.Schema):
    """One try at an effect."""

    at = instant()
    milliseconds = whole("")
    outcome = text()
    detail = text(null=True)


class EffectDetailSchema(EffectSchema):
    """An effect with every try at it."""

    attempts = many(EffectAttemptSchema)


class AuditEntrySchema(ma.Schema):
    """Something an operator did."""

    id = whole("")
    at = instant()
    actor = text("key:<id> <name>, cli:<user>, or host")
    action = text("the thing and the verb, as in effect.retry")
    subject = text("to what")
    detail = free("what else was said")


class ConnectionSchema(ma.Schema):
    """One configured use of a plugin."""

    name = text()
    plugin = text()
    title = text(null=True)
    kinds = words("billing_engine, payment_provider, webhook_source")
    traits = fields.Dict(
        keys=fields.String(), values=fields.Boolean(), required=True,
        metadata={"description": "how the provider behaves"},
    )  # fmt: skip
    operations = words("what it can do beyond collecting and keeping books")
    webhook_url = text("where the provider sends its webhooks", null=True)
    settings = free("masked; only for keys with the scope admin", null=True)
    problem = text("why its plugin is out", null=True)


class FindingSchema(ma.Schema):
    """One result of a check."""

    severity = choice(Severity)
    what = text()
    fix = text("how to mend it")


class CheckSchema(ma.Schema):
    """What a check found."""

    connection = text()
    ok = flag("no finding is an error")
    findings = many(FindingSchema)


class InputErrorSchema(ma.Schema):
    """One field that is wrong."""

    field = text("path of the field, parts joined by dots; empty: the whole")
    message = text()
    allowed = fields.List(fields.String(), metadata={"description": "what would have been right"})


class ProblemSchema(ma.Schema):
    """RFC 9457."""

    type = text()
    title = text()
    status = whole("")
    detail = text()
    request_id = fields.String(metadata={"description": "names this request in the log"})
    field = fields.String(metadata={"description": "what clashes"})
    code = fields.String(metadata={"description": "the provider's own word"})
    errors = fields.List(
        fields.Nested(InputErrorSchema), metadata={"description": "every field that is wrong"}
    )
