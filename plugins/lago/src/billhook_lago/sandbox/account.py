"""The account around the billing: organisation, webhook endpoints and the keys that sign."""

from __future__ import annotations

from werkzeug.wrappers import Response

from billhook.testing.sandbox import post_to
from billhook_lago.sandbox.answers import invalid, not_found, paged, rooted
from billhook_lago.sandbox.calls import Call, Rule, Schema, choose, require
from billhook_lago.sandbox.state import Json
from billhook_lago.sandbox.webhooks import Endpoint
from billhook_lago.sandbox.wire import stamp
from billhook_lago.sandbox.world import World

_MOST_ENDPOINTS = 10
_SCHEMA: Schema = dict.fromkeys(("webhook_url", "signature_algo", "name", "event_types"))
_ALGORITHMS = ("jwt", "hmac")


class AccountEndpoints:
    """Organisation, webhook endpoints, public key."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rules(self) -> list[Rule]:
        """Return the routes."""
        one = "/webhook_endpoints/<endpoint_id>"
        return [
            ("GET", "/organizations", self.organization),
            ("GET", "/webhooks/json_public_key", self.json_public_key),
            ("GET", "/webhooks/public_key", self.public_key),
            ("POST", "/webhook_endpoints", self.create),
            ("GET", "/webhook_endpoints", self.find_all),
            ("GET", one, self.get),
            ("PUT", one, self.update),
            ("DELETE", one, self.delete),
        ]

    def organization(self, _call: Call) -> Response:
        """Return the organisation; its id is the one in every webhook."""
        endpoints = self._world.announce.endpoints
        address = ("country", "address_line1", "address_line2", "state", "zipcode", "email", "city")
        body: Json = {
            "lago_id": self._world.account.organization_id,
            "name": "Billhook sandbox",
            "created_at": stamp(self._world.created_at),
            "webhook_url": endpoints[0].url if endpoints else None,
            "webhook_urls": [endpoint.url for endpoint in endpoints],
            **dict.fromkeys((*address, "legal_name", "legal_number", "tax_identification_number")),
            "default_currency": "EUR",
            "timezone": "UTC",
            "net_payment_term": 0,
            "email_settings": [],
            "document_numbering": "per_customer",
            "document_number_prefix": self._world.account.number_prefix,
            "finalize_zero_amount_invoice": True,
            "billing_configuration": {
                "invoice_footer": None,
                "invoice_grace_period": 0,
                "document_locale": "en",
            },
            "taxes": [],
        }
        return rooted("organization", body)

    def json_public_key(self, _call: Call) -> Response:
        """Return the instance's public key in JSON."""
        return rooted("webhook", {"public_key": self._world.signer.public_key()})

    def public_key(self, _call: Call) -> Response:
        """Return the instance's public key as plain text (deprecated by Lago)."""
        return Response(self._world.signer.public_key(), content_type="text/plain; charset=utf-8")

    def create(self, call: Call) -> Response:
        """Register a receiver; the algorithm is ``jwt`` unless said otherwise, as in Lago."""
        body = call.root("webhook_endpoint", _SCHEMA)
        require(body, "webhook_url")
        endpoints = self._world.announce.endpoints
        if len(endpoints) >= _MOST_ENDPOINTS:
            raise invalid(base="exceeded_limit")
        self._refuse_bad_url(body["webhook_url"], None)
        endpoint = self._world.announce.add_endpoint(
            body["webhook_url"],
            post_to(body["webhook_url"]),
            algorithm=str(choose(body, "signature_algo", _ALGORITHMS, "jwt")),
            name=body.get("name"),
            event_types=body.get("event_types"),
        )
        return self._answer(endpoint)

    def find_all(self, call: Call) -> Response:
        """List the receivers."""
        call.only_filters()
        rows = [self._json(endpoint) for endpoint in self._world.announce.endpoints]
        return paged("webhook_endpoints", rows, call.query)

    def get(self, call: Call) -> Response:
        """Return one receiver."""
        return self._answer(self._find(call))

    def update(self, call: Call) -> Response:
        """Change the algorithm, the name or the event filter; a changed URL starts a new queue."""
        body = call.root("webhook_endpoint", _SCHEMA)
        endpoint = self._find(call)
        endpoint.signature_algo = str(choose(body, "signature_algo", _ALGORITHMS, endpoint.signature_algo))
        endpoint.name = body.get("name", endpoint.name)
        endpoint.event_types = body.get("event_types", endpoint.event_types)
        if body.get("webhook_url", endpoint.url) != endpoint.url:
            self._refuse_bad_url(body["webhook_url"], endpoint)
            endpoint.url = body["webhook_url"]
            endpoint.sender = self._world.announce.new_sender(post_to(endpoint.url))
        return self._answer(endpoint)

    def delete(self, call: Call) -> Response:
        """Forget a receiver and what waits for it."""
        endpoint = self._find(call)
        self._world.announce.endpoints.remove(endpoint)
        return self._answer(endpoint)

    def _refuse_bad_url(self, url: str, own: Endpoint | None) -> None:
        if not str(url).startswith(("http://", "https://")):
            raise invalid(webhook_url="url_invalid")
        if any(endpoint.url == url and endpoint is not own for endpoint in self._world.announce.endpoints):
            raise invalid(webhook_url="value_already_exist")

    def _find(self, call: Call) -> Endpoint:
        for endpoint in self._world.announce.endpoints:
            if endpoint.id == call.args["endpoint_id"]:
                return endpoint
        raise not_found("webhook_endpoint")

    def _answer(self, endpoint: Endpoint) -> Response:
        return rooted("webhook_endpoint", self._json(endpoint))

    def _json(self, endpoint: Endpoint) -> Json:
        return {
            "lago_id": endpoint.id,
            "lago_organization_id": self._world.account.organization_id,
            "webhook_url": endpoint.url,
            "signature_algo": endpoint.signature_algo,
            "name": endpoint.name,
            "event_types": endpoint.event_types,
            "created_at": stamp(endpoint.created_at),
        }
