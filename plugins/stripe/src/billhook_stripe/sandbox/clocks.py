"""Test clocks: a customer's own time, frozen until it is advanced.

What happens to a customer on a clock happens at the clock's time: what they get is created then, and their bank answers a
debit when the clock passes that day. Everybody else's time goes on. The sandbox's own clock is not moved, for the host may
share it: events and signatures carry the time at which they are sent. To advance takes until the next
:meth:`~billhook_stripe.sandbox.desk.Desk.tick`; until then the clock says ``advancing``, as Stripe's does for a while.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from .errors import Json, invalid
from .world import World, new_id

LONGEST: Final = timedelta(days=730)
"""How far a clock may be advanced at once: two years, for customers without a subscription."""
KEPT: Final = timedelta(days=30)
"""How long Stripe keeps a test clock before it deletes it by itself."""

_READY, _ADVANCING = "ready", "advancing"


def create(world: World, given: Json) -> Json:
    """Make a clock that stands at ``frozen_time``, and put a customer on it when one is named."""
    clock: Json = {
        "id": new_id("clock"),
        "object": "test_helpers.test_clock",
        "created": world.stamp(),
        "deletes_after": world.stamp() + int(KEPT.total_seconds()),
        "frozen_time": given["frozen_time"],
        "livemode": False,
        "name": given.get("name"),
        "status": _READY,
        "status_details": {},
    }
    if given.get("customer"):
        _put_on(world, clock, given["customer"])
    world.clocks[clock["id"]] = clock
    world.emit("test_helpers.test_clock.created", clock, None)
    return clock


def advance(world: World, clock: Json, *, to: int) -> Json:
    """Begin to advance a clock to an instant, in seconds since 1970.

    :raises ApiError: it is on its way already, the instant is not after its own, or too far.
    """
    if clock["status"] != _READY:
        raise invalid(f"The test clock {clock['id']} is being advanced already.")
    if to <= clock["frozen_time"]:
        raise invalid("frozen_time must be after the test clock's present one.", param="frozen_time")
    if to > clock["frozen_time"] + LONGEST.total_seconds():
        raise invalid("A test clock is advanced by at most two years.", param="frozen_time")
    clock.update(status=_ADVANCING, status_details={_ADVANCING: {"target_frozen_time": to}})
    world.emit("test_helpers.test_clock.advancing", clock, None)
    return clock


def move(world: World) -> list[Json]:
    """Put every clock that is being advanced to where it goes; return them. What is due by then comes next."""
    moved = [clock for clock in world.clocks.values() if clock["status"] == _ADVANCING]
    for clock in moved:
        clock["frozen_time"] = clock["status_details"][_ADVANCING]["target_frozen_time"]
    return moved


def arrive(world: World, clocks: list[Json]) -> None:
    """Say of clocks that they have arrived, after what became due on the way was done."""
    for clock in clocks:
        clock.update(status=_READY, status_details={})
        world.emit("test_helpers.test_clock.ready", clock, None)


def customers_of(world: World, clock: Json) -> list[str]:
    """Return the ids of the customers on a clock."""
    return [ref for ref, each in world.customers.items() if each.get("test_clock") == clock["id"]]


def delete(world: World, clock: Json) -> Json:
    """Take a clock away; its customers must be gone."""
    del world.clocks[clock["id"]]
    world.emit("test_helpers.test_clock.deleted", clock, None)
    return {"id": clock["id"], "object": clock["object"], "deleted": True}


def _put_on(world: World, clock: Json, customer: str) -> None:
    owner = world.customer(customer, param="customer")
    if owner["test_clock"] is not None:
        raise invalid("The customer has a test clock already, and keeps it.", param="customer")
    owner["test_clock"] = clock["id"]
