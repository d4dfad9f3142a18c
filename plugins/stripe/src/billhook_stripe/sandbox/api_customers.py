"""Operations on customers, payment methods and SetupIntents."""

from __future__ import annotations

from typing import Final

from . import methods, setups, shapes
from .errors import Json, declined, invalid
from .forms import Shape, merged
from .routing import CREATED, EXPAND, PAGING, Call, Route, keeps, page, shown
from .search import CUSTOMER_FIELDS, SEARCHING, searched
from .world import World, changed

_ADDRESS: Shape = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), str)
CUSTOMER: Final[Shape] = EXPAND | {
    "name": str,
    "email": str,
    "description": str,
    "phone": str,
    "address": _ADDRESS,
    "metadata": dict,
    "preferred_locales": [str],
    "tax_exempt": frozenset(("none", "exempt", "reverse")),
    "invoice_settings": {"default_payment_method": str},
}
_BILLING: Shape = {"address": _ADDRESS, "email": str, "name": str, "phone": str}
METHOD: Final[Shape] = EXPAND | {
    "type": str,
    "card": {"number": str, "exp_month": int, "exp_year": int, "cvc": str, "token": str},
    "sepa_debit": {"iban": str},
    "billing_details": _BILLING,
    "allow_redisplay": frozenset(("always", "limited", "unspecified")),
    "metadata": dict,
}
METHOD_CHANGE: Final[Shape] = EXPAND | {
    "card": {"exp_month": int, "exp_year": int},
    "billing_details": _BILLING,
    "allow_redisplay": METHOD["allow_redisplay"],
    "metadata": dict,
}
AUTOMATIC: Final[Shape] = {"enabled": bool, "allow_redirects": frozenset(("always", "never"))}
SETUP: Final[Shape] = EXPAND | {
    "customer": str,
    "payment_method": str,
    "usage": frozenset(("off_session", "on_session")),
    "automatic_payment_methods": AUTOMATIC,
    "allowed_payment_method_types": [str],
    "excluded_payment_method_types": [str],
    "description": str,
    "metadata": dict,
    "confirm": bool,
    "return_url": str,
    "use_stripe_sdk": bool,
}
SETUP_CONFIRM: Final[Shape] = EXPAND | {
    "payment_method": str,
    "return_url": str,
    "use_stripe_sdk": bool,
    "client_secret": str,
}
_HIDDEN = ("metadata", "customer", "description")


def _create_customer(call: Call) -> Json:
    _check_default(call, None)
    if call.params.get("test_clock"):
        call.world.test_clock(call.params["test_clock"], param="test_clock")
    customer = shapes.customer(call.world, call.params)
    call.world.customers[customer["id"]] = customer
    call.world.emit("customer.created", customer, None)
    return shown(call, customer)


def _update_customer(call: Call) -> Json:
    world, params = call.world, call.params
    customer = world.customer(call.args["id"])
    _check_default(call, customer["id"])
    values = {name: value for name, value in params.items() if name in customer}
    if "metadata" in params:
        values["metadata"] = merged(customer["metadata"], params["metadata"])
    if "invoice_settings" in params:
        values["invoice_settings"] = customer["invoice_settings"] | params["invoice_settings"]
    changed(world, "customer.updated", customer, **values)
    return shown(call, customer)


def _check_default(call: Call, customer: str | None) -> None:
    ref = (call.params.get("invoice_settings") or {}).get("default_payment_method")
    if ref is None:
        return
    method = call.world.method(ref, param="invoice_settings[default_payment_method]")
    if method["customer"] is None or method["customer"] != customer:
        raise invalid(
            f"The customer does not have a payment method with the ID {ref}. The payment method must be attached to the "
            "customer.",
            param="invoice_settings[default_payment_method]",
        )


def _delete_customer(call: Call) -> Json:
    return remove(call.world, call.world.customer(call.args["id"]))


def remove(world: World, customer: Json) -> Json:
    """Delete a customer; what they kept is nobody's, and only their id is left."""
    world.emit("customer.deleted", customer, None)
    for method in world.attached(customer["id"]):
        method["customer"] = None
        world.detached.add(method["id"])
    gone = {"id": customer["id"], "object": "customer", "deleted": True}
    customer.clear()
    customer.update(gone)
    return gone


def _customer(call: Call) -> Json:
    found = call.world.customers.get(call.args["id"])
    if found is not None and found.get("deleted"):
        return found
    return shown(call, call.world.customer(call.args["id"]))


def _customers(call: Call) -> Json:
    wanted = call.params.get("test_clock")  # Stripe lists who is on a clock only when asked for that clock
    everybody = call.world.customers.values()
    live = [each for each in everybody if not each.get("deleted") and each["test_clock"] == wanted]
    return page(call, [each for each in live if keeps(call, each, "email")], url="/v1/customers")


def _search_customers(call: Call) -> Json:
    live = [each for each in call.world.customers.values() if not each.get("deleted")]
    return searched(call, live, CUSTOMER_FIELDS, url="/v1/customers/search")


def _methods_of(call: Call) -> Json:
    customer = call.world.customer(call.args["id"])
    url = f"/v1/customers/{customer['id']}/payment_methods"
    attached = call.world.attached(customer["id"])[::-1]
    return page(call, [each for each in attached if keeps(call, each, "type")], url=url)


def _methods(call: Call) -> Json:
    customer = call.params.get("customer")
    if customer is not None:
        call.world.customer(customer, param="customer")
    rows = [each for each in call.world.methods.values() if each["customer"] == customer and customer]
    return page(call, [each for each in rows if keeps(call, each, "type")], url="/v1/payment_methods")


def _create_method(call: Call) -> Json:
    return shown(call, methods.create(call.world, call.params))


def _update_method(call: Call) -> Json:
    return shown(call, methods.update(call.world, call.world.method(call.args["id"]), call.params))


def _attach(call: Call) -> Json:
    found = methods.find(call.world, call.args["id"])
    refusal = call.world.cards[found["id"]].decline
    if refusal is not None:
        raise declined(refusal.error())
    return shown(call, methods.attach(call.world, found, call.params["customer"]))


def _detach(call: Call) -> Json:
    return shown(call, methods.detach(call.world, call.world.method(call.args["id"])))


def _create_setup(call: Call) -> Json:
    return shown(call, setups.create(call.world, call.params))


def _setup(call: Call) -> Json:
    setup = secret_kept(call, call.world.setup(call.args["id"]))
    return without_private(call, shown(call, setup))


def _setups(call: Call) -> Json:
    rows = [each for each in call.world.setups.values() if keeps(call, each, "customer", "payment_method")]
    return page(call, rows, url="/v1/setup_intents")


def _confirm_setup(call: Call) -> Json:
    setup = secret_kept(call, call.world.setup(call.args["id"]))
    return without_private(call, shown(call, setups.confirm(call.world, setup, call.params)))


def _cancel_setup(call: Call) -> Json:
    setup = call.world.setup(call.args["id"])
    return shown(call, setups.cancel(call.world, setup, reason=call.params.get("cancellation_reason")))


def secret_kept(call: Call, intent: Json) -> Json:
    """Return the intent when a browser knows its client secret; with a secret key nothing is asked."""
    given = call.params.get("client_secret")
    if (call.public or given is not None) and given != intent["client_secret"]:
        raise invalid(
            "The client_secret provided does not match the client_secret associated with this intent.",
            param="client_secret",
        )
    return intent


def without_private(call: Call, intent: Json) -> Json:
    """Return what a browser may see of an intent."""
    if not call.public:
        return intent
    return {name: value for name, value in intent.items() if name not in _HIDDEN}


ROUTES: Final = (
    Route(method="POST", path="/v1/customers", handler=_create_customer, shape=CUSTOMER | {"test_clock": str}),
    Route(method="GET", path="/v1/customers", handler=_customers,
          shape=PAGING | CREATED | {"email": str, "test_clock": str}),
    Route(method="GET", path="/v1/customers/search", handler=_search_customers,
          shape=SEARCHING, required=("query",)),
    Route(method="GET", path="/v1/customers/<id>", handler=_customer, shape=EXPAND),
    Route(method="POST", path="/v1/customers/<id>", handler=_update_customer, shape=CUSTOMER),
    Route(method="DELETE", path="/v1/customers/<id>", handler=_delete_customer),
    Route(method="GET", path="/v1/customers/<id>/payment_methods", handler=_methods_of,
          shape=PAGING | {"type": str}),
    Route(method="POST", path="/v1/payment_methods", handler=_create_method, shape=METHOD, required=("type",),
          public=True),
    Route(method="GET", path="/v1/payment_methods", handler=_methods, shape=PAGING | {"customer": str, "type": str}),
    Route(method="GET", path="/v1/payment_methods/<id>", shape=EXPAND,
          handler=lambda call: shown(call, call.world.method(call.args["id"]))),
    Route(method="POST", path="/v1/payment_methods/<id>", handler=_update_method, shape=METHOD_CHANGE),
    Route(method="POST", path="/v1/payment_methods/<id>/attach", handler=_attach,
          shape=EXPAND | {"customer": str}, required=("customer",)),
    Route(method="POST", path="/v1/payment_methods/<id>/detach", handler=_detach, shape=EXPAND),
    Route(method="POST", path="/v1/setup_intents", handler=_create_setup, shape=SETUP),
    Route(method="GET", path="/v1/setup_intents", handler=_setups,
          shape=PAGING | CREATED | {"customer": str, "payment_method": str}),
    Route(method="GET", path="/v1/setup_intents/<id>", handler=_setup, shape=EXPAND | {"client_secret": str},
          public=True),
    Route(method="POST", path="/v1/setup_intents/<id>/confirm", handler=_confirm_setup, shape=SETUP_CONFIRM,
          public=True),
    Route(method="POST", path="/v1/setup_intents/<id>/cancel", handler=_cancel_setup,
          shape=EXPAND | {"cancellation_reason": str}),
    Route(method="GET", path="/v1/mandates/<id>", shape=EXPAND,
          handler=lambda call: shown(call, call.world.mandates[call.args["id"]])),
)  # fmt: skip
