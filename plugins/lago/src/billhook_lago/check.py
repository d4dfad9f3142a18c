"""Looking at a Lago connection's set-up by calls that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal
from urllib.parse import urlsplit

from billhook.config import prefix_of
from billhook.errors import NotFound, Permanent, ProviderError, Refused, Unsupported
from billhook.provider import Finding, Severity
from billhook_lago.client import NO_LICENCE, LagoClient, organization_id, readable
from billhook_lago.config import LagoConfig
from billhook_lago.reading import Json, rows, text, text_or_none

_NO_INVOICE: Final = "00000000-0000-4000-8000-000000000000"
_CREDIT_NOTES: Final = "payments are only marked, refunds are recorded here only"


def findings(client: LagoClient, config: LagoConfig, *, connection: str) -> list[Finding]:
    """Return what was found; the key first, for without it nothing else can be seen."""
    try:
        found = organization_id(client)
    except Permanent as exc:
        return [
            Finding(
                severity=Severity.ERROR,
                what=str(exc),
                fix="Check the address, and copy the key from Lago: Developers, API keys.",
            )
        ]
    return [
        _organization(found, config, connection),
        _release(client),
        _licence(client, config, connection),
        *_endpoints(client, config, connection),
    ]


def _organization(found: str | None, config: LagoConfig, connection: str) -> Finding:
    if found is None:
        return Finding(severity=Severity.OK, what="The API key is accepted.")
    if config.organization_id not in (None, found):
        return Finding(
            severity=Severity.ERROR,
            what=f"The API key belongs to organisation {found}, not to the configured one.",
            fix=f"Set {prefix_of(connection)}_ORGANIZATION_ID to {found}, or use the other organisation's key.",
        )
    return Finding(severity=Severity.OK, what=f"The API key is accepted (organisation {found}).")


def _release(client: LagoClient) -> Finding:
    try:
        version = text_or_none(client.health(), "version")
    except (ProviderError, Refused):
        version = None
    if version is None:
        return Finding(severity=Severity.WARNING, what="Lago does not tell its version at /health.")
    return Finding(severity=Severity.OK, what=f"Lago {version}.")


def _licence(client: LagoClient, config: LagoConfig, connection: str) -> Finding:
    variable = f"{prefix_of(connection)}_LICENCE"
    match probe_licence(client), config.licence:
        case "free", "premium":
            return Finding(
                severity=Severity.ERROR,
                what="Lago has no premium licence.",
                fix=f"Add the licence to Lago, or set {variable}=auto.",
            )
        case "free", _:
            return Finding(
                severity=Severity.WARNING,
                what=f"Lago has no premium licence: {_CREDIT_NOTES}.",
                fix="Add a licence to Lago to keep payments and credit notes there.",
            )
        case "premium", "free":
            return Finding(
                severity=Severity.WARNING,
                what="Lago has a premium licence that is not used.",
                fix=f"Set {variable}=auto.",
            )
        case "premium", _:
            return Finding(severity=Severity.OK, what="Lago has a premium licence.")
        case _:
            return Finding(
                severity=Severity.WARNING,
                what="Whether Lago has a premium licence shows with its first invoice.",
            )


def probe_licence(client: LagoClient) -> Literal["premium", "free", "unknown"]:
    """Ask for the estimate of an empty credit note, which keeps nothing: without a licence Lago refuses.

    Lago may look for the invoice before the licence, so an existing one is named where there is one.
    """
    invoice_id = _any_invoice(client)
    body = {"credit_note": {"invoice_id": invoice_id or _NO_INVOICE, "items": []}}
    try:
        client.post("credit_notes", "estimate", body=body)
    except Unsupported as exc:
        return "free" if exc.code == NO_LICENCE else "unknown"
    except NotFound:
        return "unknown" if invoice_id is None else "premium"
    except (Refused, Permanent):  # it got as far as looking at the items
        return "premium"
    return "premium"


def _any_invoice(client: LagoClient) -> str | None:
    answer = client.get("invoices", params={"statuses[]": ["finalized"], "page": 1, "per_page": 1})
    with readable():
        return next((text(row, "lago_id") for row in rows(answer, "invoices")), None)


def _endpoints(client: LagoClient, config: LagoConfig, connection: str) -> Iterator[Finding]:
    """Compare the endpoints that lead here with the configured algorithm.

    Which those are shows in their path; where we are reachable is not known here.
    """
    ours = [
        row for row in client.pages("webhook_endpoints", "webhook_endpoints") if _leads_here(row, connection)
    ]
    if not ours:
        yield Finding(
            severity=Severity.WARNING,
            what=f"No webhook endpoint at Lago leads to /webhooks/{connection}.",
            fix=f"Add one in Lago, Developers, Webhooks, with signature {config.webhook_algorithm}.",
        )
    for endpoint in ours:
        yield _algorithm(endpoint, config, connection)


def _leads_here(endpoint: Json, connection: str) -> bool:
    path = urlsplit(str(endpoint.get("webhook_url"))).path.rstrip("/")
    return path.endswith((f"/webhooks/{connection}", "/api/billing/webhooks"))


def _algorithm(endpoint: Json, config: LagoConfig, connection: str) -> Finding:
    signed = text_or_none(endpoint, "signature_algo")
    if signed == config.webhook_algorithm:
        return Finding(severity=Severity.OK, what=f"Lago's webhooks come here, signed with {signed}.")
    return Finding(
        severity=Severity.ERROR,
        what=f"Lago signs its webhooks to us with {signed}, and we expect {config.webhook_algorithm}.",
        fix=f"Set the endpoint's signature to {config.webhook_algorithm} in Lago, or set "
        f"{prefix_of(connection)}_WEBHOOK_ALGORITHM={signed}.",
    )
