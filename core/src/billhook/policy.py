"""What an access policy must do: give the decision for a customer at an instant. The built-in one follows rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from billhook.access import Account, Decision, Policy, decide

RULES = "rules"
"""The name of the built-in policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyContext:
    """What a policy is given at start-up. ``document`` returns the rules that are active when it is called."""

    document: Callable[[], Policy]


@runtime_checkable
class AccessPolicy(Protocol):
    """Decides about access. Pure: the same facts at the same instant always give the same decision."""

    @property
    def name(self) -> str:
        """What customers and subscriptions are assigned to it by."""
        ...

    def decide(self, account: Account, at: datetime, payers: Mapping[str, Account]) -> Decision:
        """Return the decision from the facts with ``at`` up to the instant.

        :param payers: the accounts that may pay for this one, by id.
        """
        ...


class RulesPolicy:
    """The built-in policy: the rules of a document, the most severe first, the first match counts."""

    def __init__(self, document: Callable[[], Policy]) -> None:
        self._document = document

    @property
    def name(self) -> str:
        """Return ``rules``."""
        return RULES

    def decide(self, account: Account, at: datetime, payers: Mapping[str, Account]) -> Decision:
        """Return the decision by the rules that are active now."""
        return decide(account, self._document(), at, payers=payers)
