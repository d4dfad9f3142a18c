"""``/customers/…/payment_methods``: what an integration of Lago's own keeps. There is no way to add one through the API."""

from __future__ import annotations

from werkzeug.wrappers import Response

from billhook_lago.sandbox.answers import not_found, paged, rooted
from billhook_lago.sandbox.calls import Call, Rule
from billhook_lago.sandbox.state import Customer, Json
from billhook_lago.sandbox.wire import stamp
from billhook_lago.sandbox.world import World


class PaymentMethods:
    """The payment method endpoints."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rules(self) -> list[Rule]:
        """Return the routes."""
        path = "/customers/<external_id>/payment_methods"
        return [("GET", path, self.find_all), ("PUT", f"{path}/<method_id>/set_as_default", self.choose)]

    def find_all(self, call: Call) -> Response:
        """List what a customer keeps, newest first."""
        call.only_filters()
        return paged("payment_methods", list(reversed(self._customer(call).payment_methods)), call.query)

    def choose(self, call: Call) -> Response:
        """Make one the default."""
        kept = self._customer(call).payment_methods
        chosen = next((each for each in kept if each["lago_id"] == call.args["method_id"]), None)
        if chosen is None:
            raise not_found("payment_method")
        for each in kept:
            each["is_default"] = each is chosen
        return rooted("payment_method", chosen)

    def _customer(self, call: Call) -> Customer:
        customer = self._world.ledger.customer(call.args["external_id"])
        if customer is None:
            raise not_found("customer")
        return customer


def keep_method(world: World, customer: Customer, provider_method_id: str) -> Json:
    """Let an integration of Lago's own have seen a method; the first one is the default. Returns it as it is listed."""
    method: Json = {
        "lago_id": world.ledger.new_id(),
        "is_default": not customer.payment_methods,
        "payment_provider_code": "stripe_prod",
        "payment_provider_name": "Stripe",
        "payment_provider_type": "stripe",
        "provider_method_id": provider_method_id,
        "created_at": stamp(world.now()),
    }
    customer.payment_methods.append(method)
    return method
