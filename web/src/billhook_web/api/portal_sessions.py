"""The way into the customer portal: your app asks for a one-time link and sends the customer's browser there."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response, jsonify

from billhook_web.api import serialise
from billhook_web.api.describing import instant, text
from billhook_web.api.fields import Choice, Text
from billhook_web.api.host import needs, note_action, runtime
from billhook_web.api.parsing import Blueprint, Input, invalid, is_clean
from billhook_web.pages.places import OVERVIEW, PLACES
from billhook_web.stores.portal import Link

LONGEST_URL = 2000
"""Characters."""

blueprint = Blueprint("portal-sessions", __name__, description="The customer portal.")


class PortalSessionInput(Input):
    """Whom to let in, and where to."""

    customer = Text(about="Your id of the customer.", required=True)
    return_url = Text(
        about="Where the portal leads back to; its origin is one of BILLHOOK_PORTAL_RETURN_ORIGINS.",
        longest=LONGEST_URL,
        load_default=None,
        allow_none=True,
    )
    page = Choice([place.name for place in PLACES], about="The page to open.", load_default=OVERVIEW.name)


class PortalSessionSchema(ma.Schema):
    """A link into the portal. It works once."""

    url = text("send the customer's browser there, and tell nobody else: whoever has it gets in")
    customer = text("your id")
    page = text("the page it opens")
    return_url = text("where the portal leads back to", null=True)
    expires_at = instant("the link works until then")


@blueprint.route("/portal-sessions", methods=["POST"])
@needs("portal:write")
@blueprint.arguments(PortalSessionInput)
@blueprint.response(201, PortalSessionSchema)
def create_portal_session(said: dict[str, Any]) -> Response:
    """Make a link that lets a customer into the portal, once and within five minutes.

    Redirect the browser of the person you know to be this customer; do not send the link by mail.
    """
    _check_return(said["return_url"])
    issued = runtime().portal.issue(
        said["customer"],
        page=said["page"],
        return_url=said["return_url"],
        note=lambda tx: note_action(tx, "portal.link", said["customer"], page=said["page"]),
    )
    response = jsonify(_shown(issued.token, issued.link))
    response.status_code = 201
    return response


def _check_return(url: str | None) -> None:
    if url is None or (is_clean(url) and runtime().portal.may_return_to(url)):
        return
    allowed = runtime().portal.limits.return_origins
    said = "It leads to none of the origins in BILLHOOK_PORTAL_RETURN_ORIGINS."
    raise invalid("return_url", said, allowed=allowed)


def _shown(token: str, link: Link) -> dict[str, Any]:
    return {
        "url": f"{runtime().configuration.host.public_url}/portal/enter/{token}",
        "customer": link.customer_id,
        "page": link.page,
        "return_url": link.return_url,
        "expires_at": serialise.instant(link.expires_at),
    }
