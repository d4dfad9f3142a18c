"""``billhook events``: what was received, and having it processed again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from billhook_web.cli.edge import actor, json_option, open_database, print_list, print_one, with_progress

if TYPE_CHECKING:
    from billhook_web.db import Database
    from billhook_web.stores.inbox import InboxRow

COLUMNS = ("id", "received_at", "connection", "type", "status", "facts", "attempts", "error")
BATCH = 500
STATUSES = ("received", "processed", "dead")


@click.group()
def events() -> None:
    """See and replay what providers sent."""


@events.command("list")
@click.option("--connection", help="Only of this connection.")
@click.option("--status", type=click.Choice(STATUSES), help="Only with this status.")
@click.option("--type", "type_", help="Only of this type.")
@click.option("--before", type=int, help="Only older than the event with this id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_events(
    connection: str | None,
    status: str | None,
    type_: str | None,
    before: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """List events, newest first."""
    from billhook_web.stores import inbox

    with open_database() as db, db.read() as tx:
        rows = inbox.page(tx, connection=connection, status=status, type=type_, before_id=before, limit=limit)
    print_list([_fields(row) for row in rows], columns=COLUMNS, as_json=as_json, empty="No events.")


@events.command()
@click.argument("event_id", metavar="ID", type=int)
@click.option("--body", is_flag=True, help="Also print what was received; it may hold personal data.")
@json_option
def show(event_id: int, body: bool, as_json: bool) -> None:
    """Show one event."""
    from billhook_web.stores import inbox

    with open_database() as db, db.read() as tx:
        row = inbox.get(tx, event_id)
    if row is None:
        raise click.ClickException(f"There is no event {event_id}; see 'billhook events list'.")
    fields = _fields(row)
    if body and not row.has_body:
        raise click.ClickException(_why_no_body(row))
    if body:
        fields["body"] = row.body.decode("utf-8", "replace")
    print_one(fields, as_json=as_json)


@events.command()
@click.argument("event_ids", metavar="[ID]...", type=int, nargs=-1)
@click.option("--all-dead", is_flag=True, help="Every event that is a dead letter.")
def replay(event_ids: tuple[int, ...], all_dead: bool) -> None:
    """Have events processed again, whatever became of them; a running host or worker does it within a second.

    What was recorded already is recognised and changes nothing.
    """
    from billhook.clock import SystemClock
    from billhook_web.stores import audit, inbox

    if bool(event_ids) == all_dead:
        raise click.UsageError("Give ids, or --all-dead.")
    with open_database() as db:
        _require(db, event_ids)
        wanted = list(_dead(db)) if all_dead else list(event_ids)
        now = SystemClock().now()

        def replay_one(event_id: int) -> bool:
            with db.begin() as tx:
                replayed = inbox.replay(tx, event_id, now=now)
                if replayed:
                    audit.add(tx, at=now, actor=actor(), action="event.replay", subject=event_id)
            return replayed

        done = with_progress(wanted, label="Replaying", do=replay_one)
    click.echo(f"{done} event{'' if done == 1 else 's'} will be processed again.")


def _why_no_body(row: InboxRow) -> str:
    if row.body_pruned_at is None:
        return f"Event {row.id} came without a body: it is the answer to a question of ours."
    return f"The body of event {row.id} was pruned at {row.body_pruned_at:%Y-%m-%d %H:%M:%SZ}; its facts are kept."


def _require(db: Database, event_ids: tuple[int, ...]) -> None:
    """Nothing is replayed when one of the ids is wrong."""
    from billhook_web.stores import inbox

    with db.read() as tx:
        unknown = [event_id for event_id in event_ids if inbox.get(tx, event_id) is None]
    if unknown:
        raise click.ClickException(
            f"There is no event {', '.join(map(str, unknown))}; see 'billhook events list'."
        )


def _dead(db: Database) -> Iterator[int]:
    from billhook_web.stores import inbox

    before: int | None = None
    while True:
        with db.read() as tx:
            rows = inbox.page(tx, status="dead", before_id=before, limit=BATCH)
        yield from (row.id for row in rows)
        if len(rows) < BATCH:
            return
        before = rows[-1].id


def _fields(row: InboxRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "connection": row.connection,
        "type": row.type,
        "status": row.status,
        "received_at": row.received_at,
        "processed_at": row.processed_at,
        "due_at": row.due_at,
        "attempts": row.attempts,
        "facts": row.facts,
        "delivery_key": row.delivery_key,
        "error": row.error,
        "body_pruned_at": row.body_pruned_at,
    }
