"""New objects in Stripe's shape: every property the API of this version shows, with what a fresh one holds."""

from __future__ import annotations

from typing import Any

from .cards import Card
from .errors import Json
from .instruments import account_details, card_details
from .world import World, new_id

_NOTHING_YET = """
    application application_fee_amount canceled_at cancellation_reason customer_account last_payment_error
    latest_charge next_action on_behalf_of payment_method_configuration_details processing review
    shipping source statement_descriptor transfer_data transfer_group
    """.split()
"""What a fresh PaymentIntent has as null."""

NO_ADDRESS: Json = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def customer(world: World, given: Json) -> Json:
    """Return a new customer."""
    clock = world.clocks.get(given.get("test_clock") or "")
    settings = {"custom_fields": None, "default_payment_method": None, "footer": None}
    return {
        "id": new_id("cus"),
        "object": "customer",
        "address": _address(given.get("address")),
        "balance": 0,
        "created": clock["frozen_time"] if clock else world.stamp(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": given.get("description"),
        "email": given.get("email"),
        "invoice_prefix": new_id("x")[2:10].upper(),
        "invoice_settings": settings | {"rendering_options": None} | (given.get("invoice_settings") or {}),
        "livemode": False,
        "metadata": given.get("metadata") or {},
        "name": given.get("name"),
        "phone": given.get("phone"),
        "preferred_locales": given.get("preferred_locales") or [],
        "shipping": None,
        "tax_exempt": given.get("tax_exempt") or "none",
        "test_clock": given.get("test_clock"),
    }


def payment_method(world: World, card: Card, given: Json) -> Json:
    """Return a new payment method that belongs to nobody yet."""
    details = given.get("billing_details") or {}
    billing = {name: details.get(name) for name in ("email", "name", "phone", "tax_id")}
    return {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": given.get("allow_redisplay") or "unspecified",
        "billing_details": {"address": _address(details.get("address")) or dict(NO_ADDRESS), **billing},
        card.kind: card_details(card, given.get("card") or {})
        if card.kind == "card"
        else account_details(card),
        "created": world.stamp(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": given.get("metadata") or {},
        "type": card.kind,
    }


def payment_intent(world: World, given: Json) -> Json:
    """Return a new PaymentIntent."""
    ref = new_id("pi")
    return dict.fromkeys(_NOTHING_YET) | {
        "id": ref,
        "object": "payment_intent",
        "amount": given["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "automatic_payment_methods": given.get("automatic_payment_methods"),
        "capture_method": "automatic",
        "client_secret": f"{ref}_secret_{new_id('s')[2:]}",
        "confirmation_method": "automatic",
        "created": world.stamp(given.get("customer")),
        "currency": given["currency"].lower(),
        "customer": given.get("customer"),
        "description": given.get("description"),
        "excluded_payment_method_types": given.get("excluded_payment_method_types"),
        "livemode": False,
        "metadata": given.get("metadata") or {},
        "payment_method": given.get("payment_method"),
        "payment_method_options": {},
        "payment_method_types": given.get("allowed_payment_method_types") or _kinds(given["currency"]),
        "receipt_email": given.get("receipt_email"),
        "setup_future_usage": given.get("setup_future_usage"),
        "statement_descriptor_suffix": given.get("statement_descriptor_suffix"),
        "status": "requires_confirmation" if given.get("payment_method") else "requires_payment_method",
    }


def setup_intent(world: World, given: Json) -> Json:
    """Return a new SetupIntent."""
    ref = new_id("seti")
    return {
        "id": ref,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": given.get("automatic_payment_methods"),
        "cancellation_reason": None,
        "client_secret": f"{ref}_secret_{new_id('s')[2:]}",
        "created": world.stamp(given.get("customer")),
        "customer": given.get("customer"),
        "customer_account": None,
        "description": given.get("description"),
        "excluded_payment_method_types": given.get("excluded_payment_method_types"),
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": given.get("metadata") or {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": given.get("payment_method"),
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": given.get("allowed_payment_method_types") or ["card", "sepa_debit"],
        "single_use_mandate": None,
        "status": "requires_confirmation" if given.get("payment_method") else "requires_payment_method",
        "usage": given.get("usage") or "off_session",
    }


def charge(world: World, intent: Json, method: Json, *, status: str, error: Json | None) -> Json:
    """Return a new charge: one try to take a PaymentIntent's money."""
    took = status == "succeeded"
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if took else 0,
        "amount_refunded": 0,
        "balance_transaction": new_id("txn") if took else None,
        "billing_details": method["billing_details"],
        "captured": status != "failed",
        "created": world.stamp(intent["customer"]),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": error["code"] if error else None,
        "failure_message": error["message"] if error else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "outcome": _outcome(error),
        "paid": took,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"type": method["type"], method["type"]: dict(method[method["type"]])},
        "receipt_email": intent["receipt_email"],
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "statement_descriptor": None,
        "status": status,
    }


def refund(
    world: World, charged: Json, *, amount: int, status: str, reason: str | None, metadata: Json
) -> Json:
    """Return a new refund."""
    kind = charged["payment_method_details"]["type"]
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": new_id("txn"),
        "charge": charged["id"],
        "created": world.stamp(charged["customer"]),
        "currency": charged["currency"],
        "customer": charged["customer"],
        "customer_account": None,
        "destination_details": {"type": kind, kind: {}},
        "metadata": metadata,
        "payment_intent": charged["payment_intent"],
        "payment_method": charged["payment_method"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }


def dispute(world: World, charged: Json, *, amount: int, reason: str) -> Json:
    """Return a new dispute that waits for evidence."""
    kind = charged["payment_method_details"]["type"]
    return {
        "id": new_id("dp"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charged["id"],
        "created": world.stamp(charged["customer"]),
        "currency": charged["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": world.stamp(charged["customer"]) + 7 * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charged["payment_intent"],
        "payment_method_details": {
            "type": kind,
            kind: {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4"},
        },
        "reason": reason,
        "status": "needs_response",
    }


def mandate(world: World, method: Json) -> Json:
    """Return the customer's permission to debit an account."""
    return {
        "id": new_id("mandate"),
        "object": "mandate",
        "customer_acceptance": {"accepted_at": world.stamp(method["customer"]), "type": "online"},
        "livemode": False,
        "multi_use": {},
        "payment_method": method["id"],
        "payment_method_details": {
            "type": method["type"],
            method["type"]: {"reference": new_id("ref")[4:20]},
        },
        "status": "active",
        "type": "multi_use",
    }


def _outcome(error: Json | None) -> Json:
    if error is None:
        seller: Any = "Payment complete."
        return {"advice_code": None, "network_advice_code": None, "network_decline_code": None,
                "network_status": "approved_by_network", "reason": None, "risk_level": "normal",
                "seller_message": seller, "type": "authorized"}  # fmt: skip
    return {
        "advice_code": error.get("advice_code"),
        "network_advice_code": error.get("network_advice_code"),
        "network_decline_code": None,
        "network_status": "declined_by_network",
        "reason": error.get("decline_code") or error["code"],
        "risk_level": "normal",
        "seller_message": "The bank returned a decline code.",
        "type": "issuer_declined",
    }


def _address(given: Json | None) -> Json | None:
    return dict(NO_ADDRESS) | given if given else None


def _kinds(currency: str) -> list[str]:
    return ["card", "sepa_debit"] if currency.lower() == "eur" else ["card"]
