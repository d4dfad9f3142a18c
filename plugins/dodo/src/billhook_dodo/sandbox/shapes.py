"""The documented shape of every request body the sandbox takes, property by property."""

from __future__ import annotations

from .schema import (
    anything,
    boolean,
    country,
    currency,
    integer,
    list_of,
    metadata,
    nullable,
    one_of,
    record,
    tagged,
    text,
)

TAX_CATEGORIES = ("digital_products", "saas", "e_book", "edtech", "live_tutoring")
MAX_CART_ITEMS = 20
MAX_REASON = 3000

_string = text()
_maybe_string = nullable(_string)
_interval = one_of("Day", "Week", "Month", "Year")
_maybe_metadata = nullable(metadata)
_maybe_flag = nullable(boolean)

_PRICE_OPTIONS = {
    "discount": nullable(integer()),
    "discount_bps": nullable(integer(most=10_000)),
    "purchasing_power_parity": _maybe_flag,
    "tax_inclusive": _maybe_flag,
}
_PERIODS = {
    "payment_frequency_count": integer(least=1),
    "payment_frequency_interval": _interval,
    "subscription_period_count": integer(least=1),
    "subscription_period_interval": _interval,
}
_ONE_TIME_PRICE = record(
    required={"type": _string, "currency": currency, "price": integer()},
    optional=_PRICE_OPTIONS | {"pay_what_you_want": _maybe_flag, "suggested_price": nullable(integer())},
)
_RECURRING_PRICE = record(
    required={"type": _string, "currency": currency, "price": integer()} | _PERIODS,
    optional=_PRICE_OPTIONS
    | {
        "trial_amount": nullable(integer()),
        "trial_apply_discounts": _maybe_flag,
        "trial_payment_method_optional": _maybe_flag,
        "trial_period_days": nullable(integer()),
        "zero_amount_payment_method_optional": _maybe_flag,
    },
)
_PRICE = tagged("type", {"one_time_price": _ONE_TIME_PRICE, "recurring_price": _RECURRING_PRICE})

_PRODUCT_OPTIONS = {
    "addons": nullable(list_of(_string)),
    "brand_id": _maybe_string,
    "credit_entitlements": nullable(list_of(anything)),
    "description": _maybe_string,
    "digital_product_delivery": anything,
    "entitlements": nullable(list_of(anything)),
    "license_key_activation_message": _maybe_string,
    "license_key_activations_limit": nullable(integer()),
    "license_key_duration": anything,
    "license_key_enabled": _maybe_flag,
    "metadata": _maybe_metadata,
    "pricing_mode": anything,
}
PRODUCT = record(
    required={"name": _string, "price": _PRICE, "tax_category": one_of(*TAX_CATEGORIES)},
    optional=_PRODUCT_OPTIONS,
)
PRODUCT_CHANGE = record(
    optional=_PRODUCT_OPTIONS
    | {
        "image_id": _maybe_string,
        "name": _maybe_string,
        "price": nullable(_PRICE),
        "tax_category": nullable(one_of(*TAX_CATEGORIES)),
    },
)

CUSTOMER = record(
    required={"email": _string, "name": _string},
    optional={"metadata": metadata, "phone_number": _maybe_string, "preferred_locale": _maybe_string},
)
CUSTOMER_CHANGE = record(
    optional={
        "email": _maybe_string,
        "metadata": _maybe_metadata,
        "name": _maybe_string,
        "phone_number": _maybe_string,
        "preferred_locale": _maybe_string,
    },
)

_CUSTOMER_REF = record(
    optional={"customer_id": _string, "email": _string, "name": _maybe_string, "phone_number": _maybe_string},
)
_FLAGS = record(
    optional=dict.fromkeys(
        (
            "allow_currency_selection",
            "allow_customer_editing_business_name",
            "allow_customer_editing_city",
            "allow_customer_editing_country",
            "allow_customer_editing_email",
            "allow_customer_editing_name",
            "allow_customer_editing_state",
            "allow_customer_editing_street",
            "allow_customer_editing_tax_id",
            "allow_customer_editing_zipcode",
            "allow_discount_code",
            "allow_editing_addons",
            "allow_phone_number_collection",
            "allow_tax_id",
            "always_create_new_customer",
            "redirect_immediately",
            "require_cardholder_name",
            "require_phone_number",
            "require_tax_id",
            "single_page",
        ),
        boolean,
    ),
)
_ADDRESS = record(
    required={"country": country},
    optional=dict.fromkeys(("city", "state", "street", "zipcode"), _maybe_string),
)
_CART_ITEM = record(
    required={"product_id": _string, "quantity": integer(least=1)},
    optional={
        "addons": nullable(list_of(anything)),
        "amount": nullable(integer()),
        "credit_entitlements": nullable(list_of(anything)),
    },
)
_ON_DEMAND = record(
    required={"mandate_only": boolean},
    optional={
        "adaptive_currency_fees_inclusive": _maybe_flag,
        "product_currency": nullable(currency),
        "product_description": _maybe_string,
        "product_price": nullable(integer()),
    },
)
CHECKOUT = record(
    required={"product_cart": list_of(_CART_ITEM, most=MAX_CART_ITEMS)},
    optional={
        "allowed_payment_method_types": nullable(list_of(_string)),
        "billing_address": nullable(_ADDRESS),
        "billing_currency": nullable(currency),
        "cancel_url": _maybe_string,
        "confirm": boolean,
        "custom_fields": nullable(list_of(anything)),
        "customer": nullable(_CUSTOMER_REF),
        "customer_business_name": _maybe_string,
        "customization": anything,
        "discount_code": _maybe_string,
        "discount_codes": nullable(list_of(_string)),
        "feature_flags": _FLAGS,
        "force_3ds": _maybe_flag,
        "mandate_min_amount_inr_paise": nullable(integer()),
        "metadata": _maybe_metadata,
        "minimal_address": boolean,
        "payment_method_id": _maybe_string,
        "product_collection_id": _maybe_string,
        "return_url": _maybe_string,
        "short_link": boolean,
        "show_saved_payment_methods": boolean,
        "subscription_data": nullable(
            record(optional={"on_demand": nullable(_ON_DEMAND), "trial_period_days": nullable(integer())})
        ),
        "tax_id": _maybe_string,
    },
)

CHARGE = record(
    required={"product_price": integer()},
    optional={
        "adaptive_currency_fees_inclusive": _maybe_flag,
        "customer_balance_config": anything,
        "metadata": _maybe_metadata,
        "product_currency": nullable(currency),
        "product_description": _maybe_string,
    },
)
# The body is the method itself; only the SDK's argument is called payment_method.
UPDATE_PAYMENT_METHOD = tagged(
    "type",
    {
        "new": record(
            required={"type": _string},
            optional={
                "return_url": _maybe_string,
                "allowed_payment_method_types": nullable(list_of(_string)),
            },
        ),
        "existing": record(required={"type": _string, "payment_method_id": _string}),
    },
)
REFUND = record(
    required={"payment_id": _string},
    optional={
        "currency": nullable(currency),
        "items": nullable(
            list_of(
                record(
                    required={"item_id": _string},
                    optional={"amount": nullable(integer(least=1)), "tax_inclusive": boolean},
                )
            )
        ),
        "metadata": metadata,
        "reason": nullable(text(longest=MAX_REASON)),
    },
)
WEBHOOK = record(
    required={"url": _string},
    optional={
        "description": _maybe_string,
        "disabled": _maybe_flag,
        "filter_types": list_of(_string),
        "headers": anything,
        "idempotency_key": _maybe_string,
        "metadata": anything,
        "rate_limit": nullable(integer()),
    },
)
