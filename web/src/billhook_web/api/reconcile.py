"""What no webhook told: the gaps that asking the providers found, and the runs that asked."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import fields, validate

from billhook_web.api import operation_serialise as serialise
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice
from billhook_web.api.host import needs, runtime
from billhook_web.api.operation_schemas import GapSchema, ReconcileRunSchema
from billhook_web.api.paging import LARGEST_ID, ById, answer_page, cut, encode, filter_text
from billhook_web.api.parsing import Blueprint
from billhook_web.stores import reconcile
from billhook_web.stores.reconcile import RunStatus

blueprint = Blueprint("reconcile", __name__, description="What no webhook told.")


class GapsQuery(ById):
    """Which gaps. ``since`` and ``until`` are about when they were found."""

    connection = filter_text("Of this connection.")
    kind = filter_text("Of this kind: customer, subscription, invoice, payment…")
    run = fields.Integer(
        load_default=None,
        validate=validate.Range(min=1, max=LARGEST_ID),
        metadata={"description": "Found by this run."},
    )


class RunsQuery(ById):
    """Which runs. ``since`` and ``until`` are about when they began."""

    connection = filter_text("Of this connection.")
    status = Choice(RunStatus, about="How far it has come.", load_default=None)


@blueprint.route("/gaps")
@needs("events:read")
@blueprint.arguments(GapsQuery, location="query")
@blueprint.response(200, page(GapSchema))
def list_gaps(query: dict[str, Any]) -> Response:
    """List what a provider had and no webhook had told, the newest first."""
    limit, before, run_id = query.pop("limit"), query.pop("cursor"), query.pop("run")
    with runtime().db.read() as tx:
        rows = reconcile.page_gaps(tx, **query, run_id=run_id, before_id=before, limit=limit + 1)
    shown, last = cut(rows, limit)
    return answer_page([serialise.gap(row) for row in shown], encode(last.id) if last else None)


@blueprint.route("/reconcile-runs")
@needs("events:read")
@blueprint.arguments(RunsQuery, location="query")
@blueprint.response(200, page(ReconcileRunSchema))
def list_runs(query: dict[str, Any]) -> Response:
    """List the runs that asked providers what was missed, the newest first."""
    limit, before = query.pop("limit"), query.pop("cursor")
    with runtime().db.read() as tx:
        rows = reconcile.page_runs(tx, **query, before_id=before, limit=limit + 1)
    shown, last = cut(rows, limit)
    return answer_page([serialise.reconcile_run(row) for row in shown], encode(last.id) if last else None)
