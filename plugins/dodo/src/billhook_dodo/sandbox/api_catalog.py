"""The operations on what is sold, who buys, and where events are reported."""

from __future__ import annotations

import base64

from werkzeug.wrappers import Response

from billhook.clock import new_token
from billhook.testing.sandbox import post_to

from . import catalog, catalog_json, shapes
from .errors import conflict, invalid_body, not_found
from .records import Json
from .routing import CREATED, PAGING, Call, Route, created_in_range, keeps, no_content, page_of
from .webhooks import Endpoint


def create_product(call: Call) -> Json:
    """Create a product."""
    return catalog_json.product(catalog.add_product(call.world, call.json))


def show_product(call: Call) -> Json:
    """Return a product with its price object."""
    return catalog_json.product(call.world.product(call.args["id"]))


def change_product(call: Call) -> Response:
    """Change a product; Dodo answers without a body."""
    catalog.change_product(call.world, call.world.product(call.args["id"]), call.json)
    return no_content()


def list_products(call: Call) -> Json:
    """Return products; nothing is ever archived here."""
    recurring = call.query.get("recurring")
    rows = [
        catalog_json.product_row(product)
        for product in call.world.products.values()
        if recurring in (None, str(product.is_recurring).lower()) and call.query.get("archived") != "true"
    ]
    return page_of(call, rows)


def create_customer(call: Call) -> Json:
    """Create a customer."""
    return catalog_json.customer(catalog.add_customer(call.world, call.json))


def show_customer(call: Call) -> Json:
    """Return a customer."""
    return catalog_json.customer(call.world.customer(call.args["id"]))


def change_customer(call: Call) -> Json:
    """Change a customer."""
    customer = call.world.customer(call.args["id"])
    catalog.change_customer(customer, call.json)
    return catalog_json.customer(customer)


def list_customers(call: Call) -> Json:
    """Return customers, by e-mail or name if asked."""
    rows = [
        catalog_json.customer(customer)
        for customer in call.world.customers.values()
        if created_in_range(call, customer.created_at)
        and keeps(call, email=customer.email, name=customer.name)
    ]
    return page_of(call, rows)


def list_payment_methods(call: Call) -> Json:
    """Return the cards a customer left behind."""
    customer = call.world.customer(call.args["id"])
    methods = [entry for entry in call.world.methods.values() if entry.customer_id == customer.customer_id]
    return {"items": [catalog_json.saved_method(method) for method in methods]}


def open_portal(call: Call) -> Json:
    """Return a link to the customer's own pages."""
    customer = call.world.customer(call.args["id"])
    return {"link": f"{call.world.public_url}/portal/{customer.customer_id}?token={new_token(size=12)}"}


def create_webhook(call: Call) -> Json:
    """Register an endpoint with a secret of its own; ``idempotency_key`` is honoured here, with 409."""
    key = call.json.get("idempotency_key")
    if key and any(endpoint.idempotency_key == key for endpoint in call.webhooks.endpoints.values()):
        raise conflict("IDEMPOTENCY_KEY_REUSED", "An endpoint with this idempotency key exists")
    try:
        post = post_to(call.json["url"])
    except ValueError as exc:
        raise invalid_body("url", str(exc)) from exc
    secret = "whsec_" + base64.b64encode(new_token(size=24).encode()).decode()
    return _webhook(
        call.webhooks.add_endpoint(url=call.json["url"], secret=secret, post=post, details=call.json)
    )


def list_webhooks(call: Call) -> Json:
    """Return every endpoint on one page."""
    rows = [_webhook(endpoint) for endpoint in call.webhooks.endpoints.values()]
    return {"data": rows, "done": True, "iterator": None, "prev_iterator": None}


def show_webhook(call: Call) -> Json:
    """Return an endpoint."""
    return _webhook(_endpoint(call))


def show_webhook_secret(call: Call) -> Json:
    """Return an endpoint's signing secret."""
    return {"secret": _endpoint(call).secret}


def _endpoint(call: Call) -> Endpoint:
    endpoint = call.webhooks.endpoints.get(call.args["id"])
    if endpoint is None:
        raise not_found("webhook", call.args["id"])
    return endpoint


def _webhook(endpoint: Endpoint) -> Json:
    at = catalog_json.instant(endpoint.created_at)
    return {
        "id": endpoint.endpoint_id,
        "created_at": at,
        "description": endpoint.description,
        "metadata": endpoint.metadata,
        "updated_at": at,
        "url": endpoint.url,
        "disabled": endpoint.disabled,
        "filter_types": endpoint.filter_types,
        "rate_limit": endpoint.rate_limit,
    }


_PORTAL = "/customers/<id>/customer-portal/session"
_PRODUCT_QUERY = PAGING | {"archived", "brand_id", "recurring"}
_CUSTOMER_QUERY = PAGING | CREATED | {"email", "name"}
_PORTAL_QUERY = frozenset(("return_url", "send_email"))
_WEBHOOK_QUERY = frozenset(("iterator", "limit"))

ROUTES = (
    Route(method="POST", path="/products", handler=create_product, body=shapes.PRODUCT),
    Route(method="GET", path="/products", handler=list_products, query=_PRODUCT_QUERY),
    Route(method="GET", path="/products/<id>", handler=show_product),
    Route(method="PATCH", path="/products/<id>", handler=change_product, body=shapes.PRODUCT_CHANGE),
    Route(method="POST", path="/customers", handler=create_customer, body=shapes.CUSTOMER),
    Route(method="GET", path="/customers", handler=list_customers, query=_CUSTOMER_QUERY),
    Route(method="GET", path="/customers/<id>", handler=show_customer),
    Route(method="PATCH", path="/customers/<id>", handler=change_customer, body=shapes.CUSTOMER_CHANGE),
    Route(method="GET", path="/customers/<id>/payment-methods", handler=list_payment_methods),
    Route(method="POST", path=_PORTAL, handler=open_portal, query=_PORTAL_QUERY),
    Route(method="POST", path="/webhooks", handler=create_webhook, body=shapes.WEBHOOK),
    Route(method="GET", path="/webhooks", handler=list_webhooks, query=_WEBHOOK_QUERY),
    Route(method="GET", path="/webhooks/<id>", handler=show_webhook),
    Route(method="GET", path="/webhooks/<id>/secret", handler=show_webhook_secret),
)
