"""``billhook access test``: scenario files as a test suite that a CI can fail on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import click

from billhook_web.cli.edge import console

if TYPE_CHECKING:
    from rich.console import Console

    from billhook.access.scenario import Report


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write a JUnit report to this file."
)
def test(folder: Path | None, junit: Path | None) -> None:
    """Check scenario files: a policy, facts, and the decisions expected of them. Exits 1 when one differs.

    DIR is searched with the folders in it; it may also be one file. Left out: the scenarios that come with Billhook.
    """
    from billhook.access.scenario import SHIPPED, scenario_files

    where = folder or SHIPPED
    files = (where,) if where.is_file() else scenario_files(where)
    if not files:
        raise click.ClickException(f"There is no scenario (.toml or .json) in {where}.")
    out, reports = console(), []
    for file in files:
        reports.append(_run(file))
        _show(out, reports[-1])
    if junit is not None:
        _write_junit(junit, reports)
    wrong = sum(not check.passed for report in reports for check in report.checks)
    total = sum(len(report.checks) for report in reports)
    click.echo(f"{len(files)} scenarios, {total} expectations, {wrong or 'none'} of them wrong.")
    if wrong:
        raise SystemExit(1)


def _run(file: Path) -> Report:
    """Check one file; one that cannot be used is one expectation that failed."""
    from billhook.access.scenario import Check, Report, ScenarioInvalid, run

    try:
        return run(file)
    except ScenarioInvalid as exc:
        problems = tuple(str(problem) for problem in exc.problems)
        return Report(path=file, title=file.name, checks=(Check(name="is a scenario", differences=problems),))


def _show(out: Console, report: Report) -> None:
    from rich.text import Text

    yes, no = ("✓", "✗") if out.encoding.lower().startswith("utf") else ("ok", "NO")
    mark = (f"{yes} ", "bold green") if report.passed else (f"{no} ", "bold red")
    out.print(Text.assemble(mark, report.path.name, (f"  {report.title} ({len(report.checks)})", "dim")))
    for check in report.checks:
        if not check.passed:
            out.print(Text(f"    {check.name}", style="red"))
        for difference in check.differences:
            out.print(Text(f"      {difference}"))


def _write_junit(path: Path, reports: Sequence[Report]) -> None:
    suites = ET.Element("testsuites", name="billhook access")
    for report in reports:
        failures = sum(not check.passed for check in report.checks)
        suite = ET.SubElement(suites, "testsuite", name=report.title, file=str(report.path))
        suite.set("tests", str(len(report.checks)))
        suite.set("failures", str(failures))
        for check in report.checks:
            case = ET.SubElement(suite, "testcase", classname=report.path.stem, name=check.name)
            if not check.passed:
                ET.SubElement(case, "failure", message=check.differences[0]).text = "\n".join(
                    check.differences
                )
    try:
        ET.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as exc:
        raise click.ClickException(f"{path} cannot be written: {exc.strerror}") from exc
