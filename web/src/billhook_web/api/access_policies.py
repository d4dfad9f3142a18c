"""Access policies: documents that never change once they are kept, and which one counts for whom."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response, jsonify
from marshmallow import validate

from billhook.access import policy_to_json
from billhook.errors import NotFound
from billhook_web.api import access_policy_schemas as write
from billhook_web.api.access_documents import answered_problems, policy_field, warnings_of
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice, Text
from billhook_web.api.host import actor, host, needs, note_action, runtime
from billhook_web.api.parsing import Blueprint, Input, invalid
from billhook_web.api.things import find_subscription
from billhook_web.services.enacting import RESERVED, Enacted, Scope

blueprint = Blueprint("access-policies", __name__, description="What decides about access.")

NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
_WRONG_NAME = "Write small letters, digits, dots, dashes and underscores; the first is a letter or a digit."
SCOPES = ("default", "customer", "subscription")
_ONE = "/access/policies/<string:name>"


def _name(**options: Any) -> Text:
    field = Text(about="Small letters, digits, dots, dashes and underscores.", longest=64, **options)
    field.validators = [*field.validators, validate.Regexp(f"^{NAME}\\Z", error=_WRONG_NAME)]
    return field


def _reason() -> Text:
    return Text(about="Why, for whoever asks later.", longest=500, load_default=None, allow_none=True)


class DocumentInput(Input):
    """A policy."""

    policy = policy_field(required=True)


class PolicyInput(DocumentInput):
    """A policy to keep."""

    name = _name(required=True)
    reason = _reason()

    @ma.validates("name")
    def _is_free(self, value: str, **_: Any) -> None:
        if value in RESERVED:
            raise ma.ValidationError("This name is taken by Billhook itself; choose another.")


class ScopeInput(Input):
    """For whom."""

    scope = Choice(
        SCOPES, about="For everybody who has no other, a customer, or a subscription.", required=True
    )
    id = Text(
        about="Your id of the customer, or the ref of the subscription.", load_default=None, longest=512
    )


class EnactInput(ScopeInput):
    """Where, and why."""

    reason = _reason()


class ActivateInput(EnactInput):
    """What is to count, and for whom."""

    name = Text(about="The policy; or that of a plugin.", required=True, longest=64)
    version = ma.fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(min=1, max=2**31 - 1),
        metadata={"description": "Which version; left out: the newest."},
    )


@blueprint.route("/access/policies")
@needs("policies:read")
@blueprint.response(200, page(write.PolicySchema))
def list_access_policies() -> Response:
    """List the policies, each in its newest version."""
    return jsonify(data=[write.policy(row) for row in runtime().enacting.names()], next_cursor=None)


@blueprint.route("/access/policies", methods=["POST"])
@needs("policies:write")
@blueprint.arguments(PolicyInput)
@blueprint.response(201, write.CheckedPolicySchema)
@blueprint.alt_response(200, schema=write.CheckedPolicySchema, success=True)
def create_access_policy(said: dict[str, Any]) -> Response:
    """Keep a policy as the next version of its name; nothing counts by it yet. The same again: the same version."""
    enacting = runtime().enacting
    with answered_problems():
        _, warnings = enacting.check(said["policy"])
        row, made = enacting.create(
            said["name"], said["policy"], by=actor(), reason=said["reason"], note=note_action
        )
    response = jsonify({**write.policy(row), "warnings": warnings_of(warnings)})
    response.status_code = 201 if made else 200
    return response


@blueprint.route(_ONE)
@needs("policies:read")
@blueprint.response(200, write.PolicyVersionsSchema)
def get_access_policy(name: str) -> Response:
    """Show a policy in its newest version, and which versions there are."""
    rows = runtime().enacting.versions(name)
    return jsonify({**write.policy(rows[0]), "versions": [row.version for row in rows]})


@blueprint.route(f"{_ONE}/versions/<int(max=2147483647):version>")
@needs("policies:read")
@blueprint.response(200, write.PolicySchema)
def get_access_policy_version(name: str, version: int) -> Response:
    """Show one version of a policy."""
    for row in runtime().enacting.versions(name):
        if row.version == version:
            return jsonify(write.policy(row))
    raise NotFound("There is no such version of this policy.")


@blueprint.route("/access/policies/validate", methods=["POST"])
@needs("policies:read")
@blueprint.arguments(DocumentInput)
@blueprint.response(200, write.ValidatedSchema)
def validate_access_policy(said: dict[str, Any]) -> Response:
    """Check a policy without keeping it: 422 with every problem, or the whole of it written out, with warnings."""
    with answered_problems():
        policy, warnings = runtime().enacting.check(said["policy"])
    return jsonify(policy=policy_to_json(policy), warnings=warnings_of(warnings))


@blueprint.route("/access/policies/activate", methods=["POST"])
@needs("policies:write")
@blueprint.arguments(ActivateInput)
@blueprint.response(200, write.EnactedSchema)
def activate_access_policy(said: dict[str, Any]) -> Response:
    """Let a policy count from now on. Everybody it touches is judged again; the same again changes nothing."""
    enacted = runtime().enacting.activate(
        _scope(said),
        name=said["name"],
        version=said["version"],
        by=actor(),
        reason=said["reason"],
        note=note_action,
    )
    return _answer(said, enacted)


@blueprint.route("/access/policies/rollback", methods=["POST"])
@needs("policies:write")
@blueprint.arguments(EnactInput)
@blueprint.response(200, write.EnactedSchema)
def roll_back_access_policy(said: dict[str, Any]) -> Response:
    """Let count again what counted before. Twice: back to where it was."""
    return _answer(
        said, runtime().enacting.roll_back(_scope(said), by=actor(), reason=said["reason"], note=note_action)
    )


@blueprint.route("/access/policies/assignments")
@needs("policies:read")
@blueprint.arguments(ScopeInput, location="query")
@blueprint.response(200, page(write.AssignmentSchema))
def list_access_assignments(said: dict[str, Any]) -> Response:
    """List what counted for somebody over time, the newest first: the first one counts now."""
    past = runtime().enacting.past(_scope(said))
    return jsonify(
        data=[write.assignment(said["scope"], said["id"], *each) for each in past], next_cursor=None
    )


@blueprint.route("/access/policies/assignments", methods=["DELETE"])
@needs("policies:write")
@blueprint.arguments(EnactInput, location="query")
@blueprint.response(200, write.EnactedSchema)
def withdraw_access_policy(said: dict[str, Any]) -> Response:
    """Let nothing of its own count any more: a customer has the default again; without one there are no rules."""
    return _answer(
        said, runtime().enacting.withdraw(_scope(said), by=actor(), reason=said["reason"], note=note_action)
    )


def _scope(said: dict[str, Any]) -> Scope:
    kind, name = said["scope"], said["id"]
    if (kind == "default") != (name is None):
        message = "Leave it out: the default is everybody's." if kind == "default" else f"Name the {kind}."
        raise invalid("id", message)
    match kind:
        case "default":
            return Scope()
        case "customer":
            return Scope(customer_id=name)
        case _:
            found = find_subscription(name)
            return Scope(customer_id=found.customer_id, agreement=found.external_id)


def _answer(said: dict[str, Any], enacted: Enacted) -> Response:
    host().wake.effects(enacted.effects)
    found = enacted.assignment
    counts = None if found is None else write.assignment(said["scope"], said["id"], found, enacted.policy)
    return jsonify(assignment=counts, changed=enacted.changed)
