"""What the API says about access policies and whom they count for."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields

from billhook_web.api.describing import flag, free, instant, many, one, text, whole
from billhook_web.api.operation_schemas import InputErrorSchema
from billhook_web.api.serialise import Plain
from billhook_web.api.serialise import instant as written
from billhook_web.stores.policies import Assignment, PolicyRow


class PolicySchema(ma.Schema):
    """One version of a policy; it never changes."""

    name = text()
    version = whole("")
    policy = free("the document, every setting written out")
    created_at = instant()
    created_by = text("whose key")
    reason = text("why", null=True)


class CheckedPolicySchema(PolicySchema):
    """A policy that was kept."""

    warnings = many(InputErrorSchema)


class PolicyVersionsSchema(PolicySchema):
    """A policy in its newest version."""

    versions = fields.List(
        fields.Integer(), required=True, metadata={"description": "all there are, the newest first"}
    )


class ValidatedSchema(ma.Schema):
    """A policy that can be used."""

    policy = free("the document, every setting written out")
    warnings = many(InputErrorSchema)


class AssignmentSchema(ma.Schema):
    """From when on which policy counts for whom."""

    scope = text("default, customer or subscription")
    id = text("your id of the customer, or the ref of the subscription; null: everybody", null=True)
    policy = text("its name; null: none of its own", null=True)
    version = whole("null: none, or a plugin's", null=True)
    at = instant("since when")
    by = text("who said so")
    reason = text("why", null=True)


class EnactedSchema(ma.Schema):
    """What counts now."""

    assignment = one(AssignmentSchema, null=True)
    changed = flag("false: it was so already")


def policy(row: PolicyRow) -> Plain:
    """Write one version of a policy."""
    return {
        "name": row.name,
        "version": row.version,
        "policy": dict(row.document),
        "created_at": written(row.created_at),
        "created_by": row.created_by,
        "reason": row.note,
    }


def assignment(scope: str, name: str | None, row: Assignment, document: PolicyRow | None) -> Plain:
    """Write what counts, or counted, for somebody."""
    return {
        "scope": scope,
        "id": name,
        "policy": document.name if document else row.plugin,
        "version": document.version if document else None,
        "at": written(row.at),
        "by": row.by,
        "reason": row.note,
    }
