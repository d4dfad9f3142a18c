"""Customers: registered at once whether or not a billing engine is up; ``sync`` shows how far their data got."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response, jsonify
from marshmallow import fields, validate

from billhook.errors import NotFound
from billhook_web.api import fields as check
from billhook_web.api import serialise
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice, Text
from billhook_web.api.host import host, needs, note_action, runtime
from billhook_web.api.paging import ByTime, answer_page, cut, encode, filter_text
from billhook_web.api.parsing import Blueprint, Input, invalid, is_clean
from billhook_web.api.schemas import CustomerSchema, ErasedSchema
from billhook_web.stores import accounts
from billhook_web.stores.accounts import SyncStatus

LONGEST_ID = 255

blueprint = Blueprint("customers", __name__, description="Who pays.")


def _field(about: str, *, longest: int = 255, check_with: Any = None) -> Text:
    field = Text(about=f"{about} Null clears it.", longest=longest, allow_none=True)
    if check_with is not None:
        field.validators = [*field.validators, check_with]
    return field


class AddressInput(Input):
    """Parts that are left out stay; null clears one."""

    line1 = _field("Street and number.")
    line2 = _field("Second line.")
    city = _field("City.")
    state = _field("State or province.")
    postal_code = _field("Postal code.", longest=32)
    country = _field("ISO 3166-1 alpha-2.", longest=2, check_with=check.country)


class CustomerInput(Input):
    """What you know of a customer. Fields that are left out stay; null clears one."""

    name = _field("Name of the person or company.")
    email = _field("E-mail.", longest=254, check_with=check.email)
    address = fields.Nested(AddressInput, allow_none=True)
    tax_id = _field("Tax id.", longest=64)
    currency = _field("ISO 4217.", longest=3, check_with=check.currency)
    locale = _field("BCP 47.", longest=35, check_with=check.locale)
    timezone = _field("IANA.", longest=64, check_with=check.timezone)


class CustomersQuery(ByTime):
    """Which customers."""

    search = filter_text("Part of the id, name or e-mail.")
    sync = Choice(SyncStatus, about="With a sync in this state.", load_default=None)
    connection = filter_text("Known to this connection.")


@blueprint.route("/customers/<any_text:customer_id>", methods=["PUT"])
@needs("customers:write")
@blueprint.arguments(CustomerInput)
@blueprint.response(200, CustomerSchema)
@blueprint.alt_response(201, schema=CustomerSchema, success=True)
def put_customer(said: dict[str, Any], customer_id: str) -> Response:
    """Register or change a customer.

    Answers at once; the billing engines hear of it as soon as they can. Two quick changes arrive in order.
    """
    _check_id(customer_id)
    if "address" in said and said["address"] is None:
        said["address"] = dict.fromkeys(AddressInput().fields)
    upserted = runtime().customers.upsert(customer_id, said)
    host().wake.effects(upserted.effects)
    response = jsonify(serialise.customer(upserted.row))
    response.status_code = 201 if upserted.created else 200
    return response


@blueprint.route("/customers/<any_text:customer_id>")
@needs("customers:read")
@blueprint.response(200, CustomerSchema)
def get_customer(customer_id: str) -> Response:
    """Show a customer."""
    with runtime().db.read() as tx:
        row = accounts.get_customer(tx, customer_id) if is_clean(customer_id) else None
    if row is None:
        raise NotFound("There is no such customer here.")
    return jsonify(serialise.customer(row))


@blueprint.route("/customers")
@needs("customers:read")
@blueprint.arguments(CustomersQuery, location="query")
@blueprint.response(200, page(CustomerSchema))
def list_customers(query: dict[str, Any]) -> Response:
    """List customers, the newest first."""
    limit, after = query.pop("limit"), query.pop("cursor")
    with runtime().db.read() as tx:
        rows = accounts.page_customers(tx, **query, after=after, limit=limit + 1)
    shown, last = cut(rows, limit)
    cursor = encode(last.created_at, last.customer.id) if last else None
    return answer_page([serialise.customer(row) for row in shown], cursor)


@blueprint.route("/customers/<any_text:customer_id>/personal-data", methods=["DELETE"])
@needs("customers:write")
@blueprint.response(200, ErasedSchema)
def erase_personal_data(customer_id: str) -> Response:
    """Erase what names a person: name, e-mail, address, tax id, and everything received that holds them.

    Ids, amounts, dates and refs stay, so the books do not change. Providers are not told: erase it there as well. What
    they send later is kept without personal data until you register the customer again.
    """
    if not is_clean(customer_id):
        raise NotFound("There is no such customer here.")
    erased = runtime().erasure.erase(
        customer_id, note=lambda tx: note_action(tx, "customer.erase", customer_id)
    )
    return jsonify(serialise.erased(erased))


def _check_id(customer_id: str) -> None:
    try:
        validate.Length(max=LONGEST_ID, error=f"It is longer than {LONGEST_ID} characters.")(customer_id)
    except ma.ValidationError as exc:
        raise invalid("id", str(exc.messages[0])) from exc
    if not is_clean(customer_id):
        raise invalid("id", "It has control characters.")
