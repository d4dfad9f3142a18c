"""An access answer as your code sees it, and how one is read from what the host says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from billhook.lease import Lease


class Level(StrEnum):
    """How much a customer may use."""

    FULL = "full"
    LIMITED = "limited"
    NONE = "none"


class Source(StrEnum):
    """Where an answer comes from."""

    FRESH = "fresh"  # the host said it just now, or that it is still so
    CACHED = "cached"  # the host said it a moment ago
    LEASE = "lease"  # the host cannot be asked; it had promised this until a time that is not over
    LAST_KNOWN = "last_known"  # the host cannot be asked; this is the last it said
    DECLARED = "declared"  # the host cannot be asked and nothing is known: what you chose for this case


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionAccess:
    """The state and access of one subscription of a customer."""

    state: str
    access: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whether somebody may use the product now, why, and until when. Times are UTC.

    ``subject`` is the customer's id, or the subscription's ref. ``version`` grows with every change; None: nothing is
    known. ``as_of`` is when it was true. ``stale`` says that the host could not be asked for this answer. ``next`` is
    what it becomes at ``next_change_at`` when nothing happens; both are None when it never changes by itself.
    """

    subject: str
    access: Level
    state: str
    standing: str
    block_changes: bool = False
    reasons: tuple[str, ...] = ()
    next_change_at: datetime | None = None
    next: SubscriptionAccess | None = None
    subscriptions: Mapping[str, SubscriptionAccess] = field(default_factory=lambda: MappingProxyType({}))
    version: int | None = None
    as_of: datetime | None = None
    source: Source = Source.FRESH
    stale: bool = False

    @property
    def allowed(self) -> bool:
        """Whether there is any access; look at ``access`` to tell full from limited."""
        return self.access is not Level.NONE

    @classmethod
    def of_decision(cls, body: Mapping[str, Any], *, subject: str, as_of: datetime, version: int) -> Self:
        """Read the host's JSON.

        :raises ValueError: it is not what this version understands.
        """
        try:
            return cls(
                subject=subject,
                access=Level(body["access"]),
                state=str(body["state"]),
                standing=str(body["standing"]),
                block_changes=body["block_changes"] is True,
                reasons=tuple(str(each["text"]) for each in body.get("reasons") or ()),
                next_change_at=_instant(body.get("next_change_at")),
                next=_part(body["next"]) if body.get("next") else None,
                subscriptions=_parts(body.get("subscriptions") or {}),
                version=version,
                as_of=as_of,
            )
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"the decision cannot be read: {type(exc).__name__} {exc}") from exc

    @classmethod
    def of_lease(cls, lease: Lease) -> Self:
        """Read a lease that was verified.

        :raises ValueError: it names an access level that this version does not know.
        """
        parts = {
            ref: {"state": state, "access": access}
            for ref, (state, access) in (lease.subscriptions or {}).items()
        }
        return cls(
            subject=lease.subject,
            access=Level(lease.access),
            state=lease.state,
            standing=lease.standing,
            block_changes=lease.block_changes,
            next_change_at=lease.expires_at,
            subscriptions=_parts(parts),
            version=lease.version,
            as_of=lease.issued_at,
            source=Source.LEASE,
            stale=True,
        )

    def at(self, now: datetime) -> Access:
        """Return this answer as it is at ``now`` when nothing happened since: a change that was foreseen is made."""
        if self.next_change_at is None or now < self.next_change_at:
            return self
        if self.next is None:
            return replace(self, next_change_at=None)
        return replace(
            self, access=self.next.access, state=self.next.state, next=None, next_change_at=None, reasons=()
        )


def _parts(known: Mapping[str, Any]) -> Mapping[str, SubscriptionAccess]:
    return MappingProxyType({ref: _part(each) for ref, each in known.items()})


def _part(body: Mapping[str, Any]) -> SubscriptionAccess:
    return SubscriptionAccess(state=str(body["state"]), access=Level(body["access"]))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    if instant.utcoffset() is None:
        raise ValueError(f"the time {text!r} has no offset")
    return instant
