"""What a look at one thing says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from billhook.errors import Problem
from billhook.provider import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How one thing is: ``about`` names it, ``fix`` says what to do unless all is well."""

    about: str
    severity: Severity
    what: str
    fix: str = ""


def ok(about: str, what: str) -> Diagnosis:
    """All is well."""
    return Diagnosis(about=about, severity=Severity.OK, what=what)


def warning(about: str, what: str, fix: str) -> Diagnosis:
    """It works, or may work, and somebody should look."""
    return Diagnosis(about=about, severity=Severity.WARNING, what=what, fix=fix)


def error(about: str, what: str, fix: str) -> Diagnosis:
    """It does not work."""
    return Diagnosis(about=about, severity=Severity.ERROR, what=what, fix=fix)


def of_problems(problems: Iterable[Problem]) -> list[Diagnosis]:
    """Say what is wrong with the configuration."""
    return [error("configuration", f"{each.where}: {each.what}", each.fix) for each in problems]
