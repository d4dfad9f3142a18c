"""Dodo's JSON for what is sold and who buys: products, customers, saved cards; and how it writes times."""

from __future__ import annotations

from datetime import UTC, datetime

from .records import Customer, Json, Product, SavedMethod
from .state import BUSINESS_ID


def instant(at: datetime) -> str:
    """Return a UTC instant as Dodo writes it: microseconds and ``Z``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def address(billing: Json) -> Json:
    """Return a billing address with every property, null where not given."""
    return {name: billing.get(name) for name in ("city", "country", "state", "street", "zipcode")}


def limited_customer(customer: Customer) -> Json:
    """Return the part of a customer that other objects carry."""
    return {
        "customer_id": customer.customer_id,
        "email": customer.email,
        "name": customer.name,
        "metadata": customer.metadata,
        "phone_number": customer.phone_number,
    }


def customer(record: Customer) -> Json:
    """Return a whole customer."""
    return limited_customer(record) | {
        "business_id": BUSINESS_ID,
        "created_at": instant(record.created_at),
        "blocked_at": None,
        "blocklist_entry_id": None,
        "preferred_locale": record.preferred_locale,
    }


def saved_method(method: SavedMethod) -> Json:
    """Return one entry of a customer's payment methods."""
    return {
        "payment_method": "card",
        "payment_method_id": method.payment_method_id,
        "card": {
            "card_holder_name": "Sandbox Customer",
            "card_issuing_country": method.card.country,
            "card_network": "visa",
            "card_type": "credit",
            "expiry_month": "06",
            "expiry_year": "2032",
            "last4_digits": method.card.last_four,
        },
        "last_used_at": instant(method.last_used_at),
        "payment_method_type": "credit",
        "recurring_enabled": method.recurring_enabled,
    }


def product(record: Product) -> Json:
    """Return a whole product."""
    return {
        "brand_id": BUSINESS_ID,
        "business_id": BUSINESS_ID,
        "created_at": instant(record.created_at),
        "credit_entitlements": [],
        "entitlements": [],
        "is_recurring": record.is_recurring,
        "license_key_enabled": False,
        "metadata": record.metadata,
        "price": record.price,
        "product_id": record.product_id,
        "tax_category": record.tax_category,
        "updated_at": instant(record.updated_at),
        "addons": None,
        "description": record.description,
        "digital_product_delivery": None,
        "image": None,
        "license_key_activation_message": None,
        "license_key_activations_limit": None,
        "license_key_duration": None,
        "name": record.name,
        "pricing_mode": None,
        "product_collection_id": None,
    }


def product_row(record: Product) -> Json:
    """Return a product as the list shows it: ``price`` is the bare amount there."""
    whole = product(record)
    kept = "business_id created_at entitlements is_recurring metadata product_id tax_category updated_at"
    return {key: whole[key] for key in kept.split()} | {
        "currency": record.currency,
        "description": record.description,
        "image": None,
        "name": record.name,
        "price": record.price["price"],
        "price_detail": record.price,
        "pricing_mode": None,
        "tax_inclusive": record.tax_inclusive,
    }
