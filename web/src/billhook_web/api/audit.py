"""What operators did, whether through the API or the command line."""

from __future__ import annotations

from typing import Any

from flask import Response

from billhook_web.api import operation_serialise as serialise
from billhook_web.api.describing import page
from billhook_web.api.host import needs, runtime
from billhook_web.api.operation_schemas import AuditEntrySchema
from billhook_web.api.paging import ById, answer_page, cut, encode, filter_text
from billhook_web.api.parsing import Blueprint
from billhook_web.stores import audit

blueprint = Blueprint("audit", __name__, description="What operators did.")


class AuditQuery(ById):
    """Which actions."""

    actor = filter_text("Who: key:<id> <name>, cli:<user>, or host.")
    action = filter_text("What was done, as in effect.retry.")
    subject = filter_text("To what.")


@blueprint.route("/audit")
@needs("admin")
@blueprint.arguments(AuditQuery, location="query")
@blueprint.response(200, page(AuditEntrySchema))
def list_audit(query: dict[str, Any]) -> Response:
    """List what operators did, the newest first."""
    limit, before = query.pop("limit"), query.pop("cursor")
    with runtime().db.read() as tx:
        rows = audit.page(tx, **query, before_id=before, limit=limit + 1)
    shown, last = cut(rows, limit)
    return answer_page([serialise.audit_entry(row) for row in shown], encode(last.id) if last else None)
