"""``billhook doctor``: what is wrong, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from billhook_web.cli.edge import (
    ConfigurationProblems,
    json_option,
    open_runtime,
    print_list,
    read_configuration,
)

if TYPE_CHECKING:
    from billhook_web.doctor import Diagnosis
    from billhook_web.settings import Configuration

COLUMNS = ("about", "severity", "what", "fix")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Look at everything the host needs; say for each thing how it is, and how to mend it.

    Looks at the configuration, plugins, database, queue, each connection (by harmless calls to its provider), the
    public URL, clocks, and work that waits or failed. Changes nothing. Exits 1 when something is wrong.
    """
    from billhook.provider import Severity

    found = _diagnoses()
    rows = [asdict(each) for each in found]
    print_list(rows, columns=COLUMNS, as_json=as_json, empty="Nothing was looked at.")
    if any(each.severity is Severity.ERROR for each in found):
        raise SystemExit(1)


def _diagnoses() -> Sequence[Diagnosis]:
    from billhook_web.doctor import of_problems

    try:
        configuration = read_configuration()
    except ConfigurationProblems as exc:
        return of_problems(exc.problems)
    try:
        return _examined(configuration)
    except ConfigurationProblems as exc:
        # The connections cannot be made; the host itself can still be looked at.
        alone = replace(configuration, connections=())
        return [
            *of_problems(exc.problems),
            *(each for each in _examined(alone) if each.about != "configuration"),
        ]


def _examined(configuration: Configuration) -> Sequence[Diagnosis]:
    from billhook.clock import SystemClock
    from billhook_web.doctor import Examination, examine
    from billhook_web.doctor.clocks import DateHeaders

    dates = DateHeaders(SystemClock())
    with open_runtime(configuration, http=dates) as runtime:
        return examine(Examination(runtime=runtime, http=dates, dates=dates))
