"""``billhook access``: who may use the product, why and until when; policies tried out, tested and put in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from billhook_web.cli.access_operating import exempt, policies, tag, write_off
from billhook_web.cli.access_previewing import preview
from billhook_web.cli.access_testing import test
from billhook_web.cli.edge import (
    console,
    database_errors,
    json_option,
    open_runtime,
    print_list,
    read_configuration,
    require_current,
)
from billhook_web.cli.instants import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from billhook.access import Decision
    from billhook_web.cli import access_timeline
    from billhook_web.runtime import Runtime
    from billhook_web.services.cases import Case

MOST_COMING: Final = 10
"""Changes told ahead; there may be more."""

COLUMNS = ("customer", "at", "standing", "state", "access", "next_change_at", "because")


@click.group()
def access() -> None:
    """See and decide who may use the product."""


for command in (test, preview, policies, tag, exempt, write_off):
    access.add_command(command)


@access.command()
@click.argument("customer")
@click.option(
    "--at", type=Instant(), help="Another instant, past or to come: a date or time in ISO 8601 (UTC)."
)
@click.option(
    "--history", type=click.IntRange(0, 1000), default=10, show_default=True, help="Changes to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(customer: str, at: datetime | None, history: int, as_json: bool) -> None:
    """Show what a customer may use, why, how that came about and what comes next."""
    from billhook.errors import NotFound
    from billhook_web.cli import access_timeline
    from billhook_web.stores import access as store

    with open_runtime(read_configuration()) as runtime, database_errors():
        require_current(runtime.db)
        try:
            body = _body(runtime, customer, at)
        except NotFound as exc:
            raise click.ClickException(f"Nobody knows a customer {customer!r}.") from exc
        with runtime.db.read() as tx:
            past = list(reversed(store.history(tx, customer, limit=history))) if history else []
        case = runtime.answering.case(customer, at=at)
        coming = list(_coming(case, body))
    if as_json:
        told = [{"version": each.version, "cause": each.cause, **each.body} for each in past]
        click.echo(json.dumps({**body, "history": told, "coming": coming}, ensure_ascii=False, indent=2))
        return
    out = console()
    access_timeline.show_answer(out, body)
    before = [each for each in past if each.at.isoformat() <= body["at"].replace("Z", "+00:00")]
    moments = [_moment(each.body, at=each.at.isoformat()) for each in before]
    moments += [_moment(body, at=body["at"], now=True), *(_moment(each, coming=True) for each in coming)]
    out.print()
    access_timeline.show_timeline(out, moments)


@access.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def simulate(file: Path, as_json: bool) -> None:
    """Say what would be decided about made-up facts; needs no database.

    FILE is the body of POST /api/v1/access/simulations as JSON, or a scenario (TOML or JSON), which is asked at the
    instants of its expectations.
    """
    rows = [each.to_json() for each in _simulated(file)]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    from billhook_web.cli.access_timeline import sentences

    shown = [{**row, "because": sentences(row["reasons"])} for row in rows]
    print_list(shown, columns=COLUMNS, as_json=False, empty="Nothing was asked: give instants in 'at'.")


def _body(runtime: Runtime, customer: str, at: datetime | None) -> Mapping[str, Any]:
    if at is not None:
        return runtime.answering.at(customer, at).to_json()
    stored = runtime.answering.now(customer)
    return {**stored.body, "version": stored.version}


def _coming(case: Case, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what it becomes by itself, one change after the other."""
    from datetime import datetime

    following = body["next_change_at"]
    for _ in range(MOST_COMING):
        if following is None:
            return
        decided = case.decide(datetime.fromisoformat(following)).to_json()
        yield decided
        following = decided["next_change_at"]


def _moment(
    body: Mapping[str, Any], *, at: str | None = None, now: bool = False, coming: bool = False
) -> access_timeline.Moment:
    from billhook_web.cli import access_timeline

    instant = (at or body["at"]).replace("+00:00", "Z")
    why = access_timeline.sentences(body["reasons"])
    return access_timeline.Moment(
        at=instant, state=body["state"], access=body["access"], why=why, now=now, coming=coming
    )


def _simulated(file: Path) -> Iterator[Decision]:
    from billhook.access import decide
    from billhook.access.scenario import ScenarioInvalid, load
    from billhook_web.services.simulating import SimulationInvalid, TooMuch, read_simulation

    data = _json(file) if file.suffix == ".json" else {}
    try:
        if "policy" in data:
            return read_simulation(data).decisions()
        scenario = load(file)
    except (SimulationInvalid, TooMuch, ScenarioInvalid) as exc:
        raise click.ClickException(str(exc)) from exc
    known = scenario.customers
    return (
        decide(known[each.customer], scenario.policy, each.at, payers=known) for each in scenario.expectations
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise click.ClickException(f"{file} cannot be read: {exc}") from exc
    if not isinstance(data, dict):
        raise click.ClickException(f"{file} must hold one JSON object.")
    return data
