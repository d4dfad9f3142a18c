"""What the API answers about its own work, as documented: events, effects, connections, problems.

:mod:`billhook_web.api.operation_serialise` makes it; the tests hold every answer against this.
"""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields

from billhook.provider import Severity
from billhook_web.api.describing import choice, flag, free, instant, many, text, thing, whole, words
from billhook_web.services.breaker import BreakerState
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.outbox import EffectStatus
from billhook_web.stores.reconcile import RunStatus


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
    body_pruned_at = instant("since when only its facts are kept", null=True)
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
    body = text("as it was received; only with include=body, and until it is pruned", null=True)


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


class GapSchema(ma.Schema):
    """Something a provider had and no webhook told us."""

    id = whole("")
    run_id = whole("the run that found it")
    connection = text()
    kind = text("customer, subscription, invoice, payment, refund, dispute, credit_note or mandate")
    ref = thing("what it is about")
    changed = words("what we did not know: new, or the names of its fields")
    at = instant("when it happened, where the provider says so", null=True)
    found_at = instant()


class ReconcileRunSchema(ma.Schema):
    """One time a provider was asked what was missed."""

    id = whole("")
    connection = text()
    status = choice(RunStatus, "running: at work, or stopped to go on later")
    since = instant("None: everything was looked at", null=True)
    until = instant()
    seen_count = whole("things that were listed")
    new_facts = whole("facts it told us first")
    gap_count = whole("")
    started_at = instant()
    updated_at = instant("when it last got on")
    finished_at = instant(null=True)
    error = text(null=True)


class ConnectionHealthSchema(ma.Schema):
    """Whether a connection's provider answers, as the processes that call it last said."""

    state = choice(BreakerState)
    failure_count = whole("calls without an answer, in a row")
    probe_at = instant("when the next call goes out", null=True)
    reason = text("the failure that made it count as down", null=True)
    changed_at = instant("", null=True)
    fault_count = whole("what its plugin raised, or returned against the contract, in all")
    fault = text("the last of them", null=True)
    fault_at = instant(null=True)
    notice = text("what an operator must do about its settings; it works on with those it has", null=True)
    notice_at = instant(null=True)


class ConnectionSchema(ma.Schema):
    """One configured use of a plugin."""

    name = text()
    plugin = text()
    title = text(null=True)
    kinds = words("billing_engine, payment_provider, webhook_source, notification_channel")
    traits = fields.Dict(
        keys=fields.String(), values=fields.Boolean(), required=True,
        metadata={"description": "how the provider behaves"},
    )  # fmt: skip
    operations = words("what it can do beyond collecting and keeping books")
    webhook_url = text("where the provider sends its webhooks", null=True)
    settings = free("masked; only for keys with the scope admin", null=True)
    problem = text("why its plugin is out", null=True)
    health = fields.Nested(ConnectionHealthSchema, required=True)


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
    did_you_mean = fields.String(metadata={"description": "the known word that is most like it"})


class ProblemSchema(ma.Schema):
    """RFC 9457."""

    type = text()
    title = text()
    status = whole("")
    detail = text()
    request_id = fields.String(metadata={"description": "names this request in the log"})
    field = fields.String(metadata={"description": "what clashes"})
    code = fields.String(metadata={"description": "the provider's own word"})
    limit = fields.Integer(metadata={"description": "of a 413: how much is taken"})
    errors = fields.List(
        fields.Nested(InputErrorSchema), metadata={"description": "every field that is wrong"}
    )
