"""The whole examination, in the order in which one thing needs the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from billhook.hookspecs import HttpClients
from billhook_web.doctor import clocks, host, providers, reach, receivers, sealing, work
from billhook_web.doctor.clocks import DateHeaders
from billhook_web.doctor.finding import Diagnosis
from billhook_web.doctor.reach import Resolve, addresses
from billhook_web.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is needed to look: the host, a way out, and the times that providers named in their answers."""

    runtime: Runtime
    http: HttpClients
    dates: DateHeaders
    resolve: Resolve = addresses


def examine(given: Examination) -> list[Diagnosis]:
    """Look at everything; what is found shows no secret."""
    hide = given.runtime.hide
    return [replace(each, what=hide(each.what), fix=hide(each.fix)) for each in _looks(given)]


def _looks(given: Examination) -> Iterator[Diagnosis]:
    runtime = given.runtime
    yield from host.plugins(runtime)
    usable = yield from host.database(runtime)
    yield from host.queue(runtime)
    yield from providers.settings(runtime)
    yield from providers.connections(runtime)
    yield from reach.public_url(runtime, http=given.http, resolve=given.resolve)
    yield from clocks.skew(runtime, given.dates, database=usable)
    if usable:
        yield from host.api_keys(runtime)
        yield from sealing.secrets(runtime)
        yield from providers.health(runtime)
        yield from work.waiting(runtime)
        yield from receivers.all_well(runtime)
