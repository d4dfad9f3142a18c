"""Sealing every stored secret again with the first key, after which the older keys may go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from billhook.errors import SealBroken
from billhook_web.db import Database
from billhook_web.sealing import Sealer
from billhook_web.stores import sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """What became of one column. ``older``: values another key sealed; ``broken``: what those are for that none opens."""

    column: str
    total: int
    older: int
    resealed: int = 0
    broken: tuple[str, ...] = ()


def survey(db: Database, sealer: Sealer) -> list[Resealed]:
    """Count what is sealed, and what is not sealed with the first key; changes nothing."""
    with db.read() as tx:
        counts = [(column, sealed.count(tx, column, current=sealer.mark)) for column in sealed.COLUMNS]
    return [
        Resealed(column=column.name, total=total, older=older, broken=_unopened(db, sealer, column, older))
        for column, (total, older) in counts
    ]


def reseal(db: Database, sealer: Sealer, *, did: Callable[[], None] = lambda: None) -> list[Resealed]:
    """Seal everything older again. Each value by itself: stopped halfway, the next run goes on with the rest.

    :param did: called after each value.
    """
    found = []
    for column in sealed.COLUMNS:
        with db.read() as tx:
            total, older = sealed.count(tx, column, current=sealer.mark)
        done, broken = 0, []
        for value in sealed.older(db, column, current=sealer.mark):
            try:
                plain = sealer.open(value.sealed, purpose=value.purpose)
            except SealBroken:
                broken.append(value.purpose)
            else:
                done += _put(db, value, sealer.seal(plain, purpose=value.purpose))
            did()
        found.append(
            Resealed(column=column.name, total=total, older=older, resealed=done, broken=tuple(broken))
        )
    return found


def _put(db: Database, value: sealed.SealedValue, text: str) -> bool:
    with db.begin() as tx:
        return sealed.replace(tx, value, sealed=text)


def _unopened(db: Database, sealer: Sealer, column: sealed.SealedColumn, older: int) -> tuple[str, ...]:
    if not older:
        return ()
    values = sealed.older(db, column, current=sealer.mark)
    return tuple(value.purpose for value in values if not sealer.can_open(value.sealed))
