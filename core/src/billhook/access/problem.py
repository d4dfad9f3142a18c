"""What is wrong with a policy or with facts: every problem at once, each with its place and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from billhook.errors import BillhookError


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong. ``path`` is its place in the document (``facts[3].due_date``), ``allowed`` what would do,
    ``did_you_mean`` the nearest known word for a misspelt one."""

    path: str
    message: str
    allowed: tuple[str, ...] = ()
    did_you_mean: str | None = None

    def __str__(self) -> str:
        hint = f" Did you mean {self.did_you_mean!r}?" if self.did_you_mean else ""
        allowed = f" Allowed: {', '.join(self.allowed)}." if self.allowed else ""
        return f"{self.path}: {self.message}{hint}{allowed}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON: ``path``, ``message``, ``allowed``, ``did_you_mean``."""
        return {
            "path": self.path,
            "message": self.message,
            "allowed": list(self.allowed),
            "did_you_mean": self.did_you_mean,
        }


class _Invalid(BillhookError):
    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PolicyInvalid(_Invalid):
    """The access policy cannot be used. ``problems`` holds every one, not the first."""


class FactsInvalid(_Invalid):
    """The facts cannot be used. ``problems`` holds every one, not the first."""
