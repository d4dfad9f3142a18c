"""Writing customers to Lago, where one POST creates and changes."""

from __future__ import annotations

from typing import Any, Final

from billhook.errors import NotFound
from billhook.model import Customer, Ref
from billhook_lago.client import LagoClient, readable
from billhook_lago.mapping import METADATA_SUFFIX
from billhook_lago.reading import Json, obj, rows, text

_MOST_ENTRIES: Final = 5
_LONGEST_KEY: Final = 20
_LONGEST_VALUE: Final = 100


class Customers:
    """The customers of one Lago organisation. The host writes one customer at a time, so reads and writes pair up."""

    def __init__(self, connection: str, client: LagoClient) -> None:
        self._connection = connection
        self._client = client

    def upsert(self, customer: Customer) -> Ref:
        """Create or change a customer; what we do not know stays as Lago has it.

        The time zone needs a licence; without one Lago ignores it.
        """
        body = _known(customer)
        if customer.provider_ids:
            existing = self._metadata(customer.id)
            merged = _merged(existing, customer)
            if merged != existing:
                body["metadata"] = merged
        answer = self._client.post("customers", body={"customer": body})
        with readable():
            return Ref(self._connection, text(obj(answer, "customer"), "lago_id"))

    def choose_method(self, customer_id: str, method: Ref) -> bool:
        """Make a method the default of those that Lago keeps; False: it keeps no such one, so nothing changes.

        Lago keeps methods only for customers of an integration of its own, since 1.35, each under an id of its own.
        """
        path = ("customers", customer_id, "payment_methods")
        try:
            kept = list(self._client.pages("payment_methods", *path))
        except NotFound:  # of the customer, or of the endpoint in an older Lago
            return False
        found = next((row for row in kept if row.get("provider_method_id") == method.id), None)
        if found is None:
            return False
        if found.get("is_default") is not True:
            with readable():
                ours = text(found, "lago_id")
            self._client.put(*path, ours, "set_as_default", body={})
        return True

    def _metadata(self, customer_id: str) -> list[dict[str, Any]]:
        """Return what is there, as it must be sent back: the list replaces the whole set, and an entry without its
        id collides with itself."""
        try:
            answer = self._client.get("customers", customer_id)
        except NotFound:
            return []
        with readable():
            return [
                {
                    "id": text(row, "lago_id"),
                    "key": text(row, "key"),
                    "value": row.get("value"),
                    "display_in_invoice": row.get("display_in_invoice"),
                }
                for row in rows(obj(answer, "customer"), "metadata")
            ]


def _known(customer: Customer) -> dict[str, Any]:
    """Return the fields that have a value: an absent one stays, a null would clear."""
    address = customer.address
    fields: Json = {
        "external_id": customer.id,
        "name": customer.name,
        "email": customer.email,
        "address_line1": address.line1,
        "address_line2": address.line2,
        "city": address.city,
        "state": address.state,
        "zipcode": address.postal_code,
        "country": address.country,
        "tax_identification_number": customer.tax_id,
        "currency": customer.currency,
        "timezone": customer.timezone,
        "billing_configuration": {"document_locale": _language(customer.locale)} if customer.locale else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _language(locale: str) -> str:
    """Return Lago's name for a language: it knows few, by language alone but for Brazil's Portuguese."""
    parts = locale.replace("_", "-").split("-")
    return "pt-BR" if [part.lower() for part in parts] == ["pt", "br"] else parts[0].lower()


def _merged(existing: list[dict[str, Any]], customer: Customer) -> list[dict[str, Any]]:
    """Put the ids the customer has elsewhere beside what is there. Lago keeps five entries of limited length; what
    does not fit is left out, for our own ledger knows it anyway."""
    wanted = {f"{connection}{METADATA_SUFFIX}": value for connection, value in customer.provider_ids.items()}
    wanted = {
        key: value
        for key, value in wanted.items()
        if len(key) <= _LONGEST_KEY and 0 < len(value) <= _LONGEST_VALUE
    }
    kept = [entry | {"value": wanted.pop(entry["key"], entry["value"])} for entry in existing]
    added = [{"key": key, "value": value, "display_in_invoice": False} for key, value in wanted.items()]
    return kept + added[: max(0, _MOST_ENTRIES - len(kept))]
