"""``billhook endpoints``: who receives webhooks, what was sent to them, and sending it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from billhook_web.cli.edge import (
    actor,
    database_errors,
    json_option,
    open_database,
    open_runtime,
    print_list,
    print_one,
    read_configuration,
    require_current,
)

if TYPE_CHECKING:
    from billhook_web.db import Tx
    from billhook_web.runtime import Runtime
    from billhook_web.stores.endpoints import Endpoint
    from billhook_web.stores.outgoing import AttemptRow
    from billhook_web.stores.webhook_log import DeliveryRow

COLUMNS = ("id", "url", "status", "event_types", "failing_since", "undelivered", "notice")
LOG_COLUMNS = ("id", "created_at", "type", "customer_id", "status", "attempts", "due_at", "error")
STATUSES = ("pending", "waiting", "held", "delivered", "given_up", "canceled")
ALL = "all"


@click.group()
def endpoints() -> None:
    """Manage who receives webhooks.

    What is to be sent is sent by a running host or worker, within a second.
    """


@endpoints.command("list")
@json_option
def list_endpoints(as_json: bool) -> None:
    """List endpoints, the newest first."""
    from billhook_web.stores import endpoints as store
    from billhook_web.stores import webhook_log

    with open_database() as db, db.read() as tx:
        rows = store.page(tx, limit=10_000)
        counts = webhook_log.undelivered(tx, [row.id for row in rows])
    shown = [_fields(row) | {"undelivered": counts[row.id]} for row in rows]
    print_list(shown, columns=COLUMNS, as_json=as_json, empty="No endpoints.")


@endpoints.command()
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, help="A type of event to tell it of; repeatable. Default: all."
)
@click.option("--description", default="", help="For people.")
@click.option("--disabled", is_flag=True, help="Hold what it would be sent.")
@json_option
def create(url: str, events: tuple[str, ...], description: str, disabled: bool, as_json: bool) -> None:
    """Add an endpoint and show its secret, this once."""
    from billhook_web.services.publishing import SUBSCRIBABLE

    unknown = [each for each in events if each not in SUBSCRIBABLE]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is no type of event; choose from {', '.join(SUBSCRIBABLE)}")
    with _managing() as runtime:
        made, secret = runtime.receivers.create(
            url=url, description=description, event_types=events, enabled=not disabled, note=_note(runtime)
        )
    print_one(_fields(made) | {"secret": secret}, as_json=as_json)


@endpoints.command()
@click.argument("endpoint_id", metavar="ID", type=int)
@json_option
def test(endpoint_id: int, as_json: bool) -> None:
    """Send a test event."""
    with _managing() as runtime:
        key = runtime.receivers.test(endpoint_id, note=_note(runtime))
    print_one({"message_id": key}, as_json=as_json)


@endpoints.command()
@click.argument("endpoint_id", metavar="ID", type=int)
@json_option
def enable(endpoint_id: int, as_json: bool) -> None:
    """Enable an endpoint again; what was held is sent, in order."""
    from billhook_web.services.receivers import Changes

    with _managing() as runtime:
        row = runtime.receivers.change(endpoint_id, Changes(enabled=True), note=_note(runtime))
    print_one(_fields(row), as_json=as_json)


@endpoints.command()
@click.argument("endpoint_id", metavar="ID", type=int)
@click.option("--overlap", default="P1D", show_default=True, help="How long the secret before signs, too.")
@json_option
def rotate(endpoint_id: int, overlap: str, as_json: bool) -> None:
    """Give an endpoint a new secret and show it, this once."""
    from billhook.dunning import parse_duration
    from billhook_web.services.receivers import LONGEST_OVERLAP

    try:
        span = parse_duration(overlap)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    if span > LONGEST_OVERLAP:
        raise click.BadParameter(f"{overlap} is longer than P{LONGEST_OVERLAP.days}D")
    with _managing() as runtime:
        row, secret = runtime.receivers.rotate(endpoint_id, overlap=span, note=_note(runtime))
    print_one(_fields(row) | {"secret": secret}, as_json=as_json)


@endpoints.command()
@click.argument("endpoint_id", metavar="ID", type=int)
@click.option("--status", type=click.Choice(STATUSES), help="Only with this status.")
@click.option("--customer", help="Only about this customer.")
@click.option("--before", type=int, help="Only older than the delivery with this id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def deliveries(
    endpoint_id: int, status: str | None, customer: str | None, before: int | None, limit: int, as_json: bool
) -> None:
    """List what was sent to an endpoint or waits for it, the newest first; --json has every attempt."""
    from billhook_web.stores import webhook_log

    with open_database() as db, db.read() as tx:
        rows = webhook_log.page(
            tx, endpoint_id=endpoint_id, status=status, customer=customer, before_id=before, limit=limit
        )
        tries = webhook_log.attempts_of(tx, [row.id for row in rows])
    shown = [_delivery(row, tries[row.id]) for row in rows]
    print_list(shown, columns=LOG_COLUMNS, as_json=as_json, empty="No deliveries.")


@endpoints.command()
@click.argument("endpoint_id", metavar="ID", type=int)
@click.option("--message", help="One message, whatever came of it (msg_…).")
@click.option("--since", help="What it has not got since this date or time (ISO 8601).")
@click.option("--include-delivered", is_flag=True, help="With --since: also what it has got.")
@json_option
def redeliver(
    endpoint_id: int, message: str | None, since: str | None, include_delivered: bool, as_json: bool
) -> None:
    """Send messages again, with the same ids and in order."""
    if (message is None) == (since is None):
        raise click.UsageError("Give either --since or --message.")
    with _managing() as runtime:
        note = _note(runtime)
        if message is not None:
            number = runtime.receivers.redeliver_one(endpoint_id, message_id=message, note=note)
        else:
            number = runtime.receivers.redeliver_since(
                endpoint_id, since=_instant(since or ""), delivered_too=include_delivered, note=note
            )
    print_one({"messages": number}, as_json=as_json)


@contextmanager
def _managing() -> Iterator[Runtime]:
    """Open the host; what it refuses ends the command in one line."""
    from billhook.errors import Refused
    from billhook_web.services.receivers import UrlUnusable

    with open_runtime(read_configuration()) as runtime, database_errors():
        require_current(runtime.db)
        try:
            yield runtime
        except UrlUnusable as exc:
            raise click.ClickException(f"The URL cannot be used. {exc}") from exc
        except Refused as exc:
            raise click.ClickException(str(exc)) from exc


def _note(runtime: Runtime) -> Any:
    from billhook_web.stores import audit

    def note(tx: Tx, action: str, subject: object, **detail: Any) -> None:
        audit.add(tx, at=runtime.clock.now(), actor=actor(), action=action, subject=subject, detail=detail)

    return note


def _instant(text: str) -> Any:
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is no date or time; write 2026-09-01T09:00:00Z") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _fields(row: Endpoint) -> dict[str, Any]:
    return {
        "id": row.id,
        "url": row.url,
        "description": row.description,
        "event_types": row.event_types or (ALL,),
        "status": row.status,
        "reason": row.reason,
        "notice": row.notice,
        "failures": row.failures,
        "failing_since": row.failing_since,
        "previous_secret_until": row.previous_until,
        "created_at": row.created_at,
    }


def _delivery(row: DeliveryRow, tries: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "message_id": row.key,
        "type": row.type,
        "customer_id": row.customer_id,
        "status": row.status,
        "due_at": row.due_at,
        "attempts": row.attempts,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "error": row.error,
        "tries": [_try(each) for each in tries],
    }


def _try(row: AttemptRow) -> dict[str, Any]:
    return {
        "at": row.at,
        "milliseconds": row.milliseconds,
        "outcome": row.outcome,
        "status_code": row.status_code,
        "response": row.response,
        "error": row.error,
    }
