"""What the API says about access: the decision, exactly as the contract has it, and what comes with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import marshmallow as ma
from marshmallow import fields

from billhook.access import Access
from billhook.events import Event, to_json
from billhook_web.api.describing import choice, day, flag, free, instant, many, one, text, thing, whole, words
from billhook_web.api.operation_schemas import InputErrorSchema
from billhook_web.api.serialise import Plain
from billhook_web.api.serialise import instant as written
from billhook_web.services.previewing import Moved, Tally
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
    lease = fields.String(
        metadata={"description": "asked for with lease=1: a signed token, see how-to/ask-from-your-app"}
    )


class SubscriptionAnswerSchema(AnswerSchema):
    """The customer's decision, with the state, access and reasons of one subscription."""

    paid_through = instant("the end of what is prepaid; null: nothing is", null=True)


class AnswersSchema(ma.Schema):
    """The decisions of several customers."""

    decisions = many(AnswerSchema)
    not_known = fields.List(
        fields.String(),
        required=True,
        data_key="unknown",
        metadata={"description": "ids of which nothing is known here"},
    )


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


class StandingSchema(ma.Schema):
    """How a customer stands."""

    standing = text()
    state = text()
    access = choice(Access)


_FROM = {"from": one(StandingSchema), "to": one(StandingSchema)}


class MovedSchema(ma.Schema.from_dict(_FROM, name="FromTo")):  # type: ignore[misc]  # "from" is a word of Python
    """A customer for whom a policy changes something."""

    customer = text("your id")
    at = instant("when")
    now = flag("as soon as the policy counts; false: at the next change")
    unpaid = _amounts("what is not paid")
    overdue = _amounts("what is not paid and past its due date")
    why = words("the sentences of the new decision")


class ChangesSchema(ma.Schema.from_dict({"from": text(), "to": text()}, name="Move")):  # type: ignore[misc]  # as above
    """How many change like this."""

    customers = whole("so many")


class TallySchema(ma.Schema):
    """What it comes to."""

    looked_at = whole("customers")
    now = whole("customers who change as soon as the policy counts")
    later = whole("customers who change at their next change")
    changes = many(ChangesSchema)
    at_stake = _amounts("unpaid by those who lose access")


class PreviewSchema(ma.Schema):
    """What a policy would change for some customers."""

    data = many(MovedSchema)
    next_cursor = text("null: these were all", null=True)
    summary = one(TallySchema)


class TagSchema(ma.Schema):
    """A tag a customer carries."""

    tag = text()
    by = text("who put it on", null=True)
    reason = text("why", null=True)
    at = instant("since when")


class TagsSchema(ma.Schema):
    """The tags of a customer."""

    customer = text("your id")
    tags = many(TagSchema)


class PayerSchema(ma.Schema):
    """Who pays for a customer."""

    customer = text("your id")
    pays = text("your id of who pays; null: the customer", null=True)
    by = text("who said so; null: nobody ever said anything else", null=True)
    reason = text("why", null=True)
    at = instant("since when")


class WriteOffSchema(ma.Schema):
    """Whether a debt was given up."""

    invoice = thing("the invoice")
    written_off = flag()
    by = text("who gave it up", null=True)
    reason = text("why", null=True)
    at = instant("since when", null=True)


def moved(row: Moved) -> Plain:
    """Write whom a policy changes something for."""
    return {
        "customer": row.customer,
        "from": asdict(row.before),
        "to": asdict(row.after),
        "at": written(row.at),
        "now": row.now,
        "unpaid": dict(row.unpaid),
        "overdue": dict(row.overdue),
        "why": list(row.why),
    }


def tally(counted: Tally) -> Plain:
    """Write what a preview comes to."""
    changes = sorted(counted.changes.items(), key=lambda item: (-item[1], item[0]))
    return {
        "looked_at": counted.looked_at,
        "now": counted.now,
        "later": counted.later,
        "changes": [
            {"from": before, "to": after, "customers": number} for (before, after), number in changes
        ],
        "at_stake": dict(sorted(counted.at_stake.items())),
    }


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
