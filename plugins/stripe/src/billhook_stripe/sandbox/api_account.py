"""Operations on the account itself: events, webhook endpoints, balance."""

from __future__ import annotations

from typing import Final

from billhook.testing.sandbox import Post, post_to

from .errors import Json, invalid, missing
from .events import thin
from .forms import Shape, merged
from .routing import CREATED, EXPAND, PAGING, Call, Route, page
from .world import ACCOUNT, new_id

ENDPOINT: Final[Shape] = EXPAND | {
    "url": str,
    "enabled_events": [str],
    "description": str,
    "metadata": dict,
    "api_version": str,
}
ENDPOINT_CHANGE: Final[Shape] = EXPAND | {
    "url": str,
    "enabled_events": [str],
    "description": str,
    "metadata": dict,
    "disabled": bool,
}


def _events(call: Call) -> Json:
    kinds = call.params.get("types") or ([call.params["type"]] if call.params.get("type") else None)
    rows = [each for each in call.hooks.events.values() if kinds is None or each["type"] in kinds]
    return page(call, rows, url="/v1/events")


def _event(call: Call) -> Json:
    return _known(call, call.args["id"])


def _thin_event(call: Call) -> Json:
    return thin(_known(call, call.args["id"]))


def _known(call: Call, ref: str) -> Json:
    if ref not in call.hooks.events:
        raise missing("event", ref)
    return call.hooks.events[ref]


def _endpoints(call: Call) -> Json:
    rows = [each.shown for each in call.hooks.endpoints.values()]
    return page(call, rows, url="/v1/webhook_endpoints")


def _create_endpoint(call: Call) -> Json:
    """Register an endpoint; its secret is shown now and never again."""
    params, secret = call.params, new_id("whsec")
    post = _post_to(params["url"])
    made = call.hooks.add(url=params["url"], secret=secret, post=post, events=params["enabled_events"])
    made.shown |= {"description": params.get("description"), "metadata": params.get("metadata") or {}}
    made.shown["api_version"] = params.get("api_version") or made.shown["api_version"]
    return made.shown | {"secret": secret}


def _endpoint(call: Call) -> Json:
    return call.hooks.endpoint(call.args["id"]).shown


def _update_endpoint(call: Call) -> Json:
    endpoint, params = call.hooks.endpoint(call.args["id"]), call.params
    shown = endpoint.shown
    if params.get("url"):
        endpoint.post, shown["url"] = _post_to(params["url"]), params["url"]
    if params.get("enabled_events"):
        shown["enabled_events"] = params["enabled_events"]
    if "disabled" in params:
        shown["status"] = "disabled" if params["disabled"] else "enabled"
    if "metadata" in params:
        shown["metadata"] = merged(shown["metadata"], params["metadata"])
    if "description" in params:
        shown["description"] = params["description"]
    return shown


def _post_to(url: str) -> Post:
    try:
        return post_to(url)
    except ValueError:
        message = "Invalid URL: an explicit scheme (such as https) must be provided."
        raise invalid(message, code="url_invalid", param="url") from None


def _delete_endpoint(call: Call) -> Json:
    endpoint = call.hooks.endpoint(call.args["id"])
    del call.hooks.endpoints[endpoint.shown["id"]]
    return {"id": endpoint.shown["id"], "object": "webhook_endpoint", "deleted": True}


def _account(_: Call) -> Json:
    return {"id": ACCOUNT, "object": "account", "charges_enabled": True, "country": "DE",
            "default_currency": "eur", "details_submitted": True, "email": "sandbox@example.com",
            "payouts_enabled": True, "type": "standard"}  # fmt: skip


def _balance(call: Call) -> Json:
    paid: dict[str, int] = {}
    for charge in call.world.charges.values():
        if charge["status"] == "succeeded":
            left = charge["amount"] - charge["amount_refunded"]
            paid[charge["currency"]] = paid.get(charge["currency"], 0) + left
    funds = [{"amount": amount, "currency": currency} for currency, amount in sorted(paid.items())]
    return {"object": "balance", "available": funds, "livemode": False, "pending": []}


ROUTES: Final = (
    Route(method="GET", path="/v1/events", handler=_events,
          shape=PAGING | CREATED | {"type": str, "types": [str], "delivery_success": bool}),
    Route(method="GET", path="/v1/events/<id>", handler=_event, shape=EXPAND),
    Route(method="GET", path="/v2/core/events/<id>", handler=_thin_event),
    Route(method="POST", path="/v1/webhook_endpoints", handler=_create_endpoint,
          shape=ENDPOINT, required=("url", "enabled_events")),
    Route(method="GET", path="/v1/webhook_endpoints", handler=_endpoints, shape=PAGING),
    Route(method="GET", path="/v1/webhook_endpoints/<id>", handler=_endpoint, shape=EXPAND),
    Route(method="POST", path="/v1/webhook_endpoints/<id>", handler=_update_endpoint, shape=ENDPOINT_CHANGE),
    Route(method="DELETE", path="/v1/webhook_endpoints/<id>", handler=_delete_endpoint),
    Route(method="GET", path="/v1/account", handler=_account, shape=EXPAND),
    Route(method="GET", path="/v1/balance", handler=_balance, shape=EXPAND),
)  # fmt: skip
