"""What the API says about access: the decision, exactly as the contract has it, and what comes with it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import marshmallow as ma
from marshmallow import fields

from billhook.access import Access
from billhook.events import Event, to_json
from billhook_web.api.describing import choice, day, flag, free, instant, many, one, text, thing, whole, words
from billhook_web.api.operation_schemas import InputErrorSchema
from billhook_web.api.serialise import Plain
from billhook_web.api.serialise import instant as written
from billhook_web.stores.access import Cause, Transition


def _amounts(about: str) -> fields.Dict:
    return fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": f"{about}, minor units by currency"},
    )


class ReasonSchema(ma.Schema):
    """One condition that holds."""

    rule = text("the state of the rule; null: the subscription's own life", null=True)
    because = text("the condition")
    invoice = text(null=True)
    days = whole("so many days", null=True)
    threshold = fields.Raw(
        required=True,
        allow_none=True,
        metadata={"description": "the limit: days, an amount, a number; or a text"},
    )
    amount = whole("minor units", null=True)
    currency = text("ISO 4217", null=True)
    text = text("the sentence")


class NextSchema(ma.Schema):
    """What it becomes if nothing new happens."""

    state = text()
    access = choice(Access)


class SubscriptionAccessSchema(ma.Schema):
    """The answer for one subscription."""

    state = text()
    access = choice(Access)
    paid_through = instant("the end of what is prepaid; null: nothing is", null=True)
    reasons = many(ReasonSchema)


class DecisionSchema(ma.Schema):
    """May this customer use the product, why, since when and until when."""

    customer = text("your id")
    at = instant("the instant this is about")
    standing = text("the first rule that matches; clear: none")
    state = text()
    access = choice(Access)
    block_changes = flag("plans cannot be changed")
    since = instant("null: nothing is known of the customer", null=True)
    unpaid = _amounts("what is not paid")
    overdue = _amounts("what is not paid and past its due date")
    unpaid_invoices = whole("so many")
    oldest_unpaid_on = day("what the age is counted from")
    reasons = many(ReasonSchema)
    next_change_at = instant("null: it never changes by itself", null=True)
    next = one(NextSchema, null=True)
    prevented_by = words("what would keep it from changing")
    subscriptions = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(SubscriptionAccessSchema),
        required=True,
        metadata={"description": "by the id of the agreement"},
    )


class SimulatedSchema(ma.Schema):
    """What would be decided."""

    decisions = many(DecisionSchema)
    warnings = many(InputErrorSchema)


class AnswerSchema(DecisionSchema):
    """The decision, with its version."""

    version = whole("grows by one at each change; null: of another instant than now", null=True)
    lease = fields.String(metadata={"description": "asked for with lease=1: a signed token, see how-to/leases"})


class SubscriptionAnswerSchema(AnswerSchema):
    """The customer's decision, with the state, access and reasons of one subscription."""

    paid_through = instant("the end of what is prepaid; null: nothing is", null=True)


class AnswersSchema(ma.Schema):
    """The decisions of several customers."""

    decisions = many(AnswerSchema)
    unknown = words("ids of which nothing is known here")


class FactBehindSchema(ma.Schema):
    """A fact behind a change."""

    type = text()
    at = instant("when it became true")
    ref = thing("what it is about")
    says = free("what else it says")


class TransitionSchema(ma.Schema):
    """One change of a decision."""

    version = whole("")
    at = instant("since when it is so")
    recorded_at = instant("when it became known here")
    cause = choice(Cause, "what brought it about")
    decision = one(DecisionSchema)
    facts = many(FactBehindSchema)


def transition(row: Transition, facts: Mapping[str, Event]) -> Plain:
    """Write a change with the facts that brought it about."""
    return {
        "version": row.version,
        "at": written(row.at),
        "recorded_at": written(row.recorded_at),
        "cause": row.cause,
        "decision": row.body,
        "facts": [_fact(facts[key]) for key in row.facts if key in facts],
    }


def _fact(event: Event) -> Plain:
    said = json.loads(to_json(event))
    return {
        "type": event.type,
        "at": written(event.at),
        "ref": str(event.ref),
        "says": {key: said[key] for key in _SAID if said.get(key) is not None},
    }


_SAID = (
    "customer_id", "external_id", "plan", "number", "amount", "total", "due", "currency", "invoice", "payment",
    "applied", "decline", "due_date", "period", "tag", "pays", "by", "reason",
)  # fmt: skip
"""What of a fact is shown: nothing that names a person."""
