"""Exemptions: tags, who pays for whom, debts that are given up; each with who said so and why."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response, jsonify

from billhook.errors import NotFound, Refused
from billhook_web.api.access_schemas import PayerSchema, TagSchema, TagsSchema, WriteOffSchema
from billhook_web.api.fields import Text
from billhook_web.api.host import actor, host, needs, note_action, runtime
from billhook_web.api.parsing import Blueprint, Input, invalid, is_clean
from billhook_web.api.serialise import instant
from billhook_web.api.things import read_ref
from billhook_web.services.exempting import Exempted, Said

LONGEST_TAG = 100

blueprint = Blueprint("exemptions", __name__, description="Tags, payers and debts given up.")


class ReasonInput(Input):
    """Why."""

    reason = Text(about="Why, for whoever asks later.", longest=500, required=True)


class PayerInput(ReasonInput):
    """Who pays."""

    pays = Text(
        about="Your id of the customer who pays; null: the customer pays again.",
        required=True,
        allow_none=True,
    )


@blueprint.route("/customers/<any_text:customer_id>/tags")
@needs("access:read")
@blueprint.response(200, TagsSchema)
def list_customer_tags(customer_id: str) -> Response:
    """List a customer's tags, with who put each on, why and when."""
    found = runtime().exempting.tags(_clean(customer_id))
    return jsonify(customer=customer_id, tags=[_tag(said) for said in found])


@blueprint.route("/customers/<any_text:customer_id>/tags/<any_text:tag>", methods=["PUT"])
@needs("access:write")
@blueprint.arguments(ReasonInput)
@blueprint.response(200, TagSchema)
def tag_customer(said: dict[str, Any], customer_id: str, tag: str) -> Response:
    """Put a tag on a customer; policies can ask for it, or for its absence. On already: it stays as it is."""
    tagged = runtime().exempting.tag(
        _clean(customer_id), _tag_name(tag), by=actor(), reason=said["reason"], note=note_action
    )
    _wake(tagged)
    assert tagged.said is not None  # noqa: S101 - it is on now
    return jsonify(_tag(tagged.said))


@blueprint.route("/customers/<any_text:customer_id>/tags/<any_text:tag>", methods=["DELETE"])
@needs("access:write")
@blueprint.arguments(ReasonInput)
@blueprint.response(204)
def untag_customer(said: dict[str, Any], customer_id: str, tag: str) -> Response:
    """Take a tag off a customer; nothing happens when it is not on."""
    _wake(
        runtime().exempting.untag(
            _clean(customer_id), _tag_name(tag), by=actor(), reason=said["reason"], note=note_action
        )
    )
    return Response(status=204)


@blueprint.route("/customers/<any_text:customer_id>/payer")
@needs("access:read")
@blueprint.response(200, PayerSchema)
def get_customer_payer(customer_id: str) -> Response:
    """Show who pays for a customer."""
    return jsonify(_payer(customer_id, runtime().exempting.payer(_clean(customer_id))))


@blueprint.route("/customers/<any_text:customer_id>/payer", methods=["PUT"])
@needs("access:write")
@blueprint.arguments(PayerInput)
@blueprint.response(200, PayerSchema)
def put_customer_payer(said: dict[str, Any], customer_id: str) -> Response:
    """Let another customer pay for this one, whose access then follows theirs; null ends it."""
    exempting = runtime().exempting
    try:
        _wake(
            exempting.delegate(
                _clean(customer_id), said["pays"], by=actor(), reason=said["reason"], note=note_action
            )
        )
    except Refused as exc:
        if exc.field is None:
            raise
        raise invalid(exc.field, str(exc)) from exc
    return jsonify(_payer(customer_id, exempting.payer(customer_id)))


@blueprint.route("/invoices/<any_text:ref>/write-off", methods=["POST"])
@needs("access:write")
@blueprint.arguments(ReasonInput)
@blueprint.response(200, WriteOffSchema)
def write_off_invoice(said: dict[str, Any], ref: str) -> Response:
    """Give a debt up: it counts against nobody's access and is not collected. The billing engine is not told."""
    invoice = read_ref(ref, "invoice")
    given_up = runtime().exempting.write_off(invoice, by=actor(), reason=said["reason"], note=note_action)
    _wake(given_up)
    return jsonify(_write_off(str(invoice), given_up.said))


@blueprint.route("/invoices/<any_text:ref>/reinstate", methods=["POST"])
@needs("access:write")
@blueprint.arguments(ReasonInput)
@blueprint.response(200, WriteOffSchema)
def reinstate_invoice(said: dict[str, Any], ref: str) -> Response:
    """Ask for a debt again that was given up; it counts from its original date."""
    invoice = read_ref(ref, "invoice")
    _wake(runtime().exempting.reinstate(invoice, by=actor(), reason=said["reason"], note=note_action))
    return jsonify(_write_off(str(invoice), None))


def _wake(done: Exempted) -> None:
    host().wake.effects(done.effects)


def _clean(customer_id: str) -> str:
    if not is_clean(customer_id):
        raise NotFound("There is no such customer here.")
    return customer_id


def _tag_name(tag: str) -> str:
    try:
        return str(Text(about="", longest=LONGEST_TAG).deserialize(tag))
    except ma.ValidationError as exc:
        raise invalid("tag", f"Write 1 to {LONGEST_TAG} characters that can be read.") from exc


def _tag(said: Said) -> dict[str, Any]:
    return {"tag": said.what, "by": said.by, "reason": said.reason, "at": instant(said.at)}


def _payer(customer_id: str, said: Said) -> dict[str, Any]:
    return {
        "customer": customer_id,
        "pays": said.what,
        "by": said.by,
        "reason": said.reason,
        "at": instant(said.at),
    }


def _write_off(invoice: str, said: Said | None) -> dict[str, Any]:
    return {
        "invoice": invoice,
        "written_off": said is not None,
        "by": said.by if said else None,
        "reason": said.reason if said else None,
        "at": instant(said.at) if said else None,
    }
