"""What a customer keeps to pay with, what may be done with it, and how adding to it ended."""

from __future__ import annotations

from dataclasses import dataclass

from billhook.errors import NotFound
from billhook.methods import SavedMethod, Setup
from billhook.model import Ref
from billhook_web.services.expiry import Expiry
from billhook_web.services.second_tries import Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A saved method and what may be done with it.

    ``only``: it stays, because a subscription needs it and there is no other. ``first``: it stays while it is the
    default and there are others.
    """

    saved: SavedMethod
    ref: Ref
    expiry: Expiry
    only: bool = False
    first: bool = False

    @property
    def removable(self) -> bool:
        """Say whether the customer may remove it."""
        return not (self.only or self.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """What a customer keeps. ``silent``: connections that do not answer just now, so their part is missing."""

    held: tuple[Held, ...] = ()
    silent: tuple[str, ...] = ()

    def get(self, ref: str) -> Held:
        """Return one method by its ref; raises :class:`NotFound`."""
        found = next((each for each in self.held if str(each.ref) == ref), None)
        if found is None:
            raise NotFound("The customer keeps no such payment method.")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the customer wants of the method they add: to be the default, and to go in the place of another."""

    default: bool = True
    replaces: Ref | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """How adding a method ended, or where it stands. ``settled`` is set once it was saved."""

    setup: Setup
    settled: Settled | None = None
