"""Operations on test clocks, see :mod:`.clocks`."""

from __future__ import annotations

from typing import Final

from . import clocks
from .api_customers import remove
from .errors import Json
from .routing import EXPAND, PAGING, Call, Route, page, shown

_PATH: Final = "/v1/test_helpers/test_clocks"


def _create(call: Call) -> Json:
    return shown(call, clocks.create(call.world, call.params))


def _clock(call: Call) -> Json:
    return shown(call, call.world.test_clock(call.args["id"]))


def _clocks(call: Call) -> Json:
    return page(call, call.world.clocks.values(), url=_PATH)


def _advance(call: Call) -> Json:
    clock = call.world.test_clock(call.args["id"])
    return shown(call, clocks.advance(call.world, clock, to=call.params["frozen_time"]))


def _delete(call: Call) -> Json:
    """Delete a clock and its customers with it, as Stripe does."""
    clock = call.world.test_clock(call.args["id"])
    for ref in clocks.customers_of(call.world, clock):
        remove(call.world, call.world.customer(ref))
    return clocks.delete(call.world, clock)


ROUTES: Final = (
    Route(method="POST", path=_PATH, handler=_create, required=("frozen_time",),
          shape=EXPAND | {"frozen_time": int, "name": str, "customer": str}),
    Route(method="GET", path=_PATH, handler=_clocks, shape=PAGING),
    Route(method="GET", path=f"{_PATH}/<id>", handler=_clock, shape=EXPAND),
    Route(method="POST", path=f"{_PATH}/<id>/advance", handler=_advance, shape=EXPAND | {"frozen_time": int},
          required=("frozen_time",)),
    Route(method="DELETE", path=f"{_PATH}/<id>", handler=_delete),
)  # fmt: skip
