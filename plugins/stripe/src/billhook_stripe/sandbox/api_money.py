"""Operations on PaymentIntents, charges, refunds and disputes."""

from __future__ import annotations

from typing import Final

from . import disputes, intents, refunds
from .api_customers import AUTOMATIC, secret_kept, without_private
from .errors import Json, missing
from .forms import Shape, merged
from .routing import CREATED, EXPAND, PAGING, Call, Route, keeps, page, shown
from .search import CHARGE_FIELDS, INTENT_FIELDS, SEARCHING, searched
from .world import changed

_FUTURE = frozenset(("off_session", "on_session"))
INTENT: Final[Shape] = EXPAND | {
    "amount": int,
    "currency": str,
    "customer": str,
    "payment_method": str,
    "confirm": bool,
    "off_session": bool,
    "automatic_payment_methods": AUTOMATIC,
    "allowed_payment_method_types": [str],
    "excluded_payment_method_types": [str],
    "setup_future_usage": _FUTURE,
    "description": str,
    "metadata": dict,
    "receipt_email": str,
    "return_url": str,
    "statement_descriptor_suffix": str,
    "use_stripe_sdk": bool,
    "error_on_requires_action": bool,
}
INTENT_CHANGE: Final[Shape] = EXPAND | {
    "amount": int,
    "customer": str,
    "payment_method": str,
    "description": str,
    "metadata": dict,
    "receipt_email": str,
    "setup_future_usage": _FUTURE,
}
INTENT_CONFIRM: Final[Shape] = EXPAND | {
    "payment_method": str,
    "off_session": bool,
    "return_url": str,
    "setup_future_usage": _FUTURE,
    "use_stripe_sdk": bool,
    "error_on_requires_action": bool,
    "client_secret": str,
}
REFUND: Final[Shape] = EXPAND | {
    "charge": str,
    "payment_intent": str,
    "amount": int,
    "reason": frozenset(("duplicate", "fraudulent", "requested_by_customer")),
    "metadata": dict,
}


def _create_intent(call: Call) -> Json:
    return shown(call, intents.create(call.world, call.params))


def _intent(call: Call) -> Json:
    intent = secret_kept(call, call.world.intent(call.args["id"]))
    return without_private(call, shown(call, intent))


def _update_intent(call: Call) -> Json:
    return shown(call, intents.update(call.world, call.world.intent(call.args["id"]), call.params))


def _confirm_intent(call: Call) -> Json:
    intent = secret_kept(call, call.world.intent(call.args["id"]))
    return without_private(call, shown(call, intents.confirm(call.world, intent, call.params)))


def _cancel_intent(call: Call) -> Json:
    intent = call.world.intent(call.args["id"])
    return shown(call, intents.cancel(call.world, intent, reason=call.params.get("cancellation_reason")))


def _intents(call: Call) -> Json:
    customer = call.params.get("customer")
    if customer is not None and customer not in call.world.customers:  # a deleted one is there
        raise missing("customer", customer, param="customer", status=400)
    rows = [each for each in call.world.intents.values() if keeps(call, each, "customer")]
    return page(call, rows, url="/v1/payment_intents")


def _search_intents(call: Call) -> Json:
    return searched(call, call.world.intents.values(), INTENT_FIELDS, url="/v1/payment_intents/search")


def _search_charges(call: Call) -> Json:
    return searched(call, call.world.charges.values(), CHARGE_FIELDS, url="/v1/charges/search")


def _charges(call: Call) -> Json:
    rows = [each for each in call.world.charges.values() if keeps(call, each, "customer", "payment_intent")]
    return page(call, rows, url="/v1/charges")


def _create_refund(call: Call) -> Json:
    return shown(call, refunds.create(call.world, call.params))


def _refunds(call: Call) -> Json:
    rows = [each for each in call.world.refunds.values() if keeps(call, each, "charge", "payment_intent")]
    return page(call, rows, url="/v1/refunds")


def _update_refund(call: Call) -> Json:
    refund = call.world.refund(call.args["id"])
    metadata = merged(refund["metadata"], call.params.get("metadata", {}))
    changed(call.world, "refund.updated", refund, metadata=metadata)
    return shown(call, refund)


def _disputes(call: Call) -> Json:
    rows = [each for each in call.world.disputes.values() if keeps(call, each, "charge", "payment_intent")]
    return page(call, rows, url="/v1/disputes")


def _update_dispute(call: Call) -> Json:
    return shown(call, disputes.update(call.world, call.world.dispute(call.args["id"]), call.params))


def _close_dispute(call: Call) -> Json:
    return shown(call, disputes.close(call.world, call.world.dispute(call.args["id"]), "lost"))


ROUTES: Final = (
    Route(method="POST", path="/v1/payment_intents", handler=_create_intent, shape=INTENT,
          required=("amount", "currency")),
    Route(method="GET", path="/v1/payment_intents", handler=_intents, shape=PAGING | CREATED | {"customer": str}),
    Route(method="GET", path="/v1/payment_intents/search", handler=_search_intents, shape=SEARCHING,
          required=("query",)),
    Route(method="GET", path="/v1/payment_intents/<id>", handler=_intent, shape=EXPAND | {"client_secret": str},
          public=True),
    Route(method="POST", path="/v1/payment_intents/<id>", handler=_update_intent, shape=INTENT_CHANGE),
    Route(method="POST", path="/v1/payment_intents/<id>/confirm", handler=_confirm_intent, shape=INTENT_CONFIRM,
          public=True),
    Route(method="POST", path="/v1/payment_intents/<id>/cancel", handler=_cancel_intent,
          shape=EXPAND | {"cancellation_reason": str}),
    Route(method="GET", path="/v1/charges", handler=_charges,
          shape=PAGING | CREATED | {"customer": str, "payment_intent": str}),
    Route(method="GET", path="/v1/charges/search", handler=_search_charges, shape=SEARCHING, required=("query",)),
    Route(method="GET", path="/v1/charges/<id>", shape=EXPAND,
          handler=lambda call: shown(call, call.world.charge(call.args["id"]))),
    Route(method="POST", path="/v1/refunds", handler=_create_refund, shape=REFUND),
    Route(method="GET", path="/v1/refunds", handler=_refunds,
          shape=PAGING | CREATED | {"charge": str, "payment_intent": str}),
    Route(method="GET", path="/v1/refunds/<id>", shape=EXPAND,
          handler=lambda call: shown(call, call.world.refund(call.args["id"]))),
    Route(method="POST", path="/v1/refunds/<id>", handler=_update_refund, shape=EXPAND | {"metadata": dict}),
    Route(method="GET", path="/v1/disputes", handler=_disputes,
          shape=PAGING | CREATED | {"charge": str, "payment_intent": str}),
    Route(method="GET", path="/v1/disputes/<id>", shape=EXPAND,
          handler=lambda call: shown(call, call.world.dispute(call.args["id"]))),
    Route(method="POST", path="/v1/disputes/<id>", handler=_update_dispute,
          shape=EXPAND | {"evidence": dict, "submit": bool, "metadata": dict}),
    Route(method="POST", path="/v1/disputes/<id>/close", handler=_close_dispute, shape=EXPAND),
)  # fmt: skip
