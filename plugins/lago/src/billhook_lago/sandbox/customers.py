"""``/customers``: upsert, read, delete, portal link, usage.

POST upserts by ``external_id``: absent keys stay, nulls clear, and the metadata array replaces the whole set, where
an entry that repeats a key without its ``id`` collides with the one that is there.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from billhook_lago.sandbox import lifecycle
from billhook_lago.sandbox.answers import ApiError, invalid, not_found, paged, rooted
from billhook_lago.sandbox.calls import ANY, Call, Rule, Schema, require
from billhook_lago.sandbox.metadata import replace_metadata
from billhook_lago.sandbox.serializers import customer_json, usage_json
from billhook_lago.sandbox.state import Customer, Json, Subscription, Usage
from billhook_lago.sandbox.world import World

_PLAIN: Json = {
    "account_type": "customer",
    "finalize_zero_amount_invoice": "inherit",
    "skip_invoice_custom_sections": False,
    **dict.fromkeys(
        ("name", "firstname", "lastname", "customer_type", "country", "address_line1", "address_line2")
    ),
    **dict.fromkeys(
        ("state", "zipcode", "email", "city", "url", "phone", "logo_url", "legal_name", "legal_number")
    ),
    **dict.fromkeys(("currency", "tax_identification_number", "timezone", "net_payment_term")),
    "external_salesforce_id": None,
}
_BILLING: Json = {
    "invoice_grace_period": None,
    "payment_provider": None,
    "payment_provider_code": None,
    "document_locale": None,  # the billing entity's counts, until one is chosen for the customer
    "subscription_invoice_issuing_date_anchor": None,
    "subscription_invoice_issuing_date_adjustment": None,
}
_ADDRESS: Json = dict.fromkeys(("address_line1", "address_line2", "city", "zipcode", "state", "country"))
_NOT_KEPT = ("provider_customer_id", "sync", "sync_with_provider", "provider_payment_methods")
_INTEGRATION = ("id", "integration_type", "integration_code", "external_customer_id", "sync_with_provider")
_SCHEMA: Schema = {
    **dict.fromkeys(name for name in _PLAIN if name != "external_salesforce_id"),
    "external_id": ANY,
    "billing_entity_code": ANY,
    "tax_codes": ANY,
    "invoice_custom_section_codes": ANY,
    "billing_configuration": dict.fromkeys((*_BILLING, *_NOT_KEPT)),
    "shipping_address": _ADDRESS,
    "integration_customers": [dict.fromkeys((*_INTEGRATION, "subsidiary_id"))],
    "metadata": [dict.fromkeys(("id", "key", "value", "display_in_invoice"))],
}
_PREMIUM_ONLY = "timezone"  # silently ignored without a licence, like the grace period
_FULL = ("taxes", "integration_customers")


class Customers:
    """The customer endpoints."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rules(self) -> list[Rule]:
        """Return the routes."""
        return [
            ("POST", "/customers", self.upsert),
            ("GET", "/customers", self.find_all),
            ("GET", "/customers/<external_id>", self.get),
            ("DELETE", "/customers/<external_id>", self.delete),
            ("GET", "/customers/<external_id>/portal_url", self.portal_url),
            ("POST", "/customers/<external_id>/checkout_url", self.checkout_url),
            ("GET", "/customers/<external_id>/current_usage", self.current_usage),
            ("GET", "/customers/<external_id>/past_usage", self.past_usage),
        ]

    def upsert(self, call: Call) -> Response:
        """Create or update by ``external_id``; ``customer.updated`` follows even when nothing changed."""
        body = call.root("customer", _SCHEMA)
        require(body, "external_id")
        existing = self._world.ledger.customer(str(body["external_id"]))
        if existing is not None:
            self._check_currency(existing, body)
        customer = existing or new_customer(self._world, str(body["external_id"]))
        metadata = replace_metadata(self._world, customer.metadata, body.get("metadata"), value_limit=100)
        self._write(customer, body, metadata)
        if existing is None:
            self._world.ledger.customers.append(customer)
            self._refuse_unconnected_provider(body)
        self._world.announce.customer("customer.updated" if existing else "customer.created", customer)
        return rooted("customer", customer_json(self._world.account, customer, *_FULL))

    def find_all(self, call: Call) -> Response:
        """List living customers, newest first."""
        call.only_filters("external_id", "search_term", "metadata")
        rows = [
            row for row in reversed(self._world.ledger.customers) if not row.deleted and _wanted(row, call)
        ]
        return paged(
            "customers", [customer_json(self._world.account, row, "taxes") for row in rows], call.query
        )

    def get(self, call: Call) -> Response:
        """Return one customer."""
        return rooted("customer", customer_json(self._world.account, self._find(call), *_FULL))

    def delete(self, call: Call) -> Response:
        """Delete softly: its subscriptions end, no customer webhook."""
        customer = self._find(call)
        for row in list(self._world.ledger.subscriptions):
            if row.customer is customer and row.status == "active":
                lifecycle.terminate(self._world, row, at=self._world.now())
        customer.deleted = True
        return rooted("customer", customer_json(self._world.account, customer))

    def portal_url(self, call: Call) -> Response:
        """Return a link to Lago's own portal."""
        url = f"{self._world.account.base_url}/customer-portal/{self._find(call).id}"
        return rooted("customer", {"portal_url": url})

    def checkout_url(self, call: Call) -> Response:
        """Refuse: the sandboxed organisation has no native payment provider."""
        self._find(call)
        raise invalid(base="no_linked_payment_provider")

    def current_usage(self, call: Call) -> Response:
        """Return the usage of a subscription's current period."""
        row, usage = self._usage(call)
        return rooted("customer_usage", usage_json(self._world.account, row, usage, now=self._world.now()))

    def past_usage(self, call: Call) -> Response:
        """Return no period: metered invoices are not played."""
        self._usage(call)
        return paged("usage_periods", [], call.query)

    def _usage(self, call: Call) -> tuple[Subscription, Usage]:
        external_id = call.query.get("external_subscription_id", "")
        row = self._world.ledger.subscription(external_id, "active")
        if row is None or row.customer is not self._find(call):
            raise not_found("subscription")
        return row, self._world.ledger.usage.get(external_id, Usage())

    def _find(self, call: Call) -> Customer:
        customer = self._world.ledger.customer(call.args["external_id"])
        if customer is None:
            raise not_found("customer")
        return customer

    def _check_currency(self, customer: Customer, body: Json) -> None:
        wanted = body.get("currency", customer.currency)
        billed = any(invoice.customer is customer for invoice in self._world.ledger.invoices)
        if billed and wanted != customer.currency:
            raise invalid(currency="currencies_does_not_match")

    def _write(self, customer: Customer, body: Json, metadata: list[Json]) -> None:
        premium = self._world.account.premium
        for name in _PLAIN:
            if name in body and (premium or name != _PREMIUM_ONLY):
                customer.fields[name] = body[name]
        for name, value in (body.get("billing_configuration") or {}).items():
            if name in _BILLING and (premium or name != "invoice_grace_period"):
                customer.billing_configuration[name] = value
        # No native provider is connected, and Lago clears one it does not know without a word.
        customer.billing_configuration |= {"payment_provider": None, "payment_provider_code": None}
        customer.shipping_address |= body.get("shipping_address") or {}
        customer.metadata = metadata
        customer.updated_at = self._world.now()

    def _refuse_unconnected_provider(self, body: Json) -> None:
        """Lago has saved the new customer by now; it answers 422 and never sends ``customer.created``."""
        if (body.get("billing_configuration") or {}).get("payment_provider"):
            raise ApiError(422, code="validation_errors", details={"base": ["payment_provider_not_found"]})


def new_customer(world: World, external_id: str) -> Customer:
    """Return a customer with Lago's defaults, not yet in the ledger."""
    return Customer(
        id=world.ledger.new_id(),
        external_id=external_id,
        sequential_id=len(world.ledger.customers) + 1,
        created_at=world.now(),
        updated_at=world.now(),
        fields=dict(_PLAIN),
        billing_configuration=dict(_BILLING),
        shipping_address=dict(_ADDRESS),
    )


def _wanted(customer: Customer, call: Call) -> bool:
    ids, term = call.values("external_id"), call.query.get("search_term", "").casefold()
    texts: list[Any] = [customer.external_id, customer.fields["name"], customer.fields["email"]]
    pairs = {entry["key"]: entry["value"] for entry in customer.metadata}
    wanted = {name[9:-1]: value for name, value in call.query.items() if name.startswith("metadata[")}
    return (
        (not ids or customer.external_id in ids)
        and (not term or any(term in str(text or "").casefold() for text in texts))
        and all(pairs.get(key) == value for key, value in wanted.items())
    )
