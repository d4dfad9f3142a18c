"""What the API says about access: the decision, exactly as the contract has it, and what comes with it."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields

from billhook.access import Access
from billhook_web.api.describing import choice, day, flag, instant, many, one, text, whole, words
from billhook_web.api.operation_schemas import InputErrorSchema


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
        required=True, allow_none=True, metadata={"description": "the limit: days, an amount, a number; or a text"}
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


def amounts(about: str) -> Any:
    """Document amounts by currency."""
    return _amounts(about)
