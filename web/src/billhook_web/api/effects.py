"""What has to happen because of it: every effect, every try at it, and having one tried again."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from typing import Any, get_args

from flask import Response, jsonify

from billhook.effects import Effect
from billhook.errors import Conflict, NotFound
from billhook_web.api import operation_serialise as serialise
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice
from billhook_web.api.host import host, needs, note_action, runtime
from billhook_web.api.operation_schemas import EffectDetailSchema, EffectSchema
from billhook_web.api.paging import LARGEST_ID, ById, answer_page, cut, encode, filter_text
from billhook_web.api.parsing import Blueprint, invalid
from billhook_web.stores import outbox
from billhook_web.stores.outbox import EffectStatus

KINDS = tuple(
    sorted(
        str(each.default)
        for kind in get_args(Effect)
        for each in dataclass_fields(kind)
        if each.name == "kind"
    )
)

blueprint = Blueprint("effects", __name__, description="What has to happen.")

_ONE = f"/effects/<int(max={LARGEST_ID}):effect_id>"


class EffectsQuery(ById):
    """Which effects."""

    status = Choice(EffectStatus, about="How far it has come.", load_default=None)
    kind = Choice(KINDS, about="What it does.", load_default=None)
    subject = filter_text("Ref of the invoice, or your id of the customer, that it is about.")
    customer = filter_text("Your id of the customer that it is about; the same as subject.")


@blueprint.route("/effects")
@needs("events:read")
@blueprint.arguments(EffectsQuery, location="query")
@blueprint.response(200, page(EffectSchema))
def list_effects(query: dict[str, Any]) -> Response:
    """List effects, the newest first."""
    limit, before = query.pop("limit"), query.pop("cursor")
    customer = query.pop("customer")
    if customer is not None and query["subject"] is not None:
        raise invalid("customer", "It means the same as subject: send one of them.")
    query["subject"] = query["subject"] or customer
    with runtime().db.read() as tx:
        rows = outbox.page(tx, **query, before_id=before, limit=limit + 1)
    shown, last = cut(rows, limit)
    return answer_page([serialise.effect(row) for row in shown], encode(last.id) if last else None)


@blueprint.route(_ONE)
@needs("events:read")
@blueprint.response(200, EffectDetailSchema)
def get_effect(effect_id: int) -> Response:
    """Show an effect with every try at it."""
    with runtime().db.read() as tx:
        row = outbox.get(tx, effect_id)
        if row is None:
            raise NotFound("There is no such effect here.")
        attempts = [serialise.effect_attempt(each) for each in outbox.attempts_of(tx, effect_id)]
    return jsonify({**serialise.effect(row), "attempts": attempts})


@blueprint.route(f"{_ONE}/retry", methods=["POST"])
@needs("events:write")
@blueprint.response(202, EffectSchema)
def retry_effect(effect_id: int) -> Response:
    """Try an effect again now that waits or was given up."""
    with runtime().db.begin() as tx:
        before = outbox.get(tx, effect_id)
        if before is None:
            raise NotFound("There is no such effect here.")
        if not outbox.retry(tx, effect_id, now=runtime().clock.now()):
            raise Conflict(f"The effect is {before.status}: nothing is left to try.", field="status")
        note_action(tx, "effect.retry", effect_id)
        row = outbox.get(tx, effect_id) or before
    host().wake.effects([effect_id])
    response = jsonify(serialise.effect(row))
    response.status_code = 202
    return response
