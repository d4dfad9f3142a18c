"""``billhook effects``: what has to happen, and trying it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from billhook_web.cli.edge import actor, json_option, open_database, print_list, print_one, with_progress

if TYPE_CHECKING:
    from billhook_web.db import Database
    from billhook_web.stores.outbox import EffectRow

COLUMNS = ("id", "created_at", "kind", "subject", "status", "due_at", "attempts", "error")
BATCH = 500
STATUSES = ("pending", "running", "unknown", "done", "superseded", "dead")


@click.group()
def effects() -> None:
    """See and retry what has to happen."""


@effects.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only with this status.")
@click.option("--kind", help="Only of this kind.")
@click.option("--subject", help="Only about this invoice (<connection>:<id>) or customer.")
@click.option("--before", type=int, help="Only older than the effect with this id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_effects(
    status: str | None, kind: str | None, subject: str | None, before: int | None, limit: int, as_json: bool
) -> None:
    """List effects, newest first."""
    from billhook_web.stores import outbox

    with open_database() as db, db.read() as tx:
        rows = outbox.page(tx, status=status, kind=kind, subject=subject, before_id=before, limit=limit)
    print_list([_fields(row) for row in rows], columns=COLUMNS, as_json=as_json, empty="No effects.")


@effects.command()
@click.argument("effect_id", metavar="ID", type=int)
@json_option
def show(effect_id: int, as_json: bool) -> None:
    """Show one effect with every attempt at it."""
    from dataclasses import asdict

    from billhook.effects import to_json
    from billhook_web.stores import outbox

    with open_database() as db, db.read() as tx:
        row = outbox.get(tx, effect_id)
        tries = [asdict(each) for each in outbox.attempts_of(tx, effect_id)]
    if row is None:
        raise click.ClickException(f"There is no effect {effect_id}; see 'billhook effects list'.")
    fields = _fields(row) | {"effect": json.loads(to_json(row.effect)), "tries": tries}
    print_one(fields, as_json=as_json)


@effects.command()
@click.argument("effect_ids", metavar="[ID]...", type=int, nargs=-1)
@click.option("--all-dead", is_flag=True, help="Every effect that is a dead letter.")
def retry(effect_ids: tuple[int, ...], all_dead: bool) -> None:
    """Try effects again now; a running host or worker does it within a second.

    What may have happened is looked up before it is repeated. An effect that is done or running is left alone.
    """
    from billhook.clock import SystemClock
    from billhook_web.stores import audit, outbox

    if bool(effect_ids) == all_dead:
        raise click.UsageError("Give ids, or --all-dead.")
    with open_database() as db:
        wanted = list(_dead(db)) if all_dead else _retryable(db, effect_ids)
        now = SystemClock().now()

        def retry_one(effect_id: int) -> bool:
            with db.begin() as tx:
                retried = outbox.retry(tx, effect_id, now=now)
                if retried:
                    audit.add(tx, at=now, actor=actor(), action="effect.retry", subject=effect_id)
            return retried

        done = with_progress(wanted, label="Retrying", do=retry_one)
    click.echo(f"{done} effect{'' if done == 1 else 's'} will be tried again.")


def _retryable(db: Database, effect_ids: tuple[int, ...]) -> list[int]:
    """Nothing is retried when one of the ids is wrong or its effect needs no retry."""
    from billhook_web.stores import outbox
    from billhook_web.stores.outbox import EffectStatus

    problems: list[str] = []
    with db.read() as tx:
        for effect_id in effect_ids:
            row = outbox.get(tx, effect_id)
            if row is None:
                problems.append(f"There is no effect {effect_id}; see 'billhook effects list'.")
            elif row.status in (EffectStatus.DONE, EffectStatus.SUPERSEDED, EffectStatus.RUNNING):
                problems.append(f"Effect {effect_id} is {row.status}; nothing is to be retried.")
    if problems:
        raise click.ClickException("\n".join(problems))
    return list(effect_ids)


def _dead(db: Database) -> Iterator[int]:
    from billhook_web.stores import outbox

    before: int | None = None
    while True:
        with db.read() as tx:
            rows = outbox.page(tx, status="dead", before_id=before, limit=BATCH)
        yield from (row.id for row in rows)
        if len(rows) < BATCH:
            return
        before = rows[-1].id


def _fields(row: EffectRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "subject": row.subject,
        "status": row.status,
        "created_at": row.created_at,
        "due_at": row.due_at,
        "finished_at": row.finished_at,
        "unknown_since": row.unknown_since,
        "attempts": row.attempts,
        "key": row.key,
        "note": row.note,
        "error": row.error,
    }
