"""The connections: their settings, and what each provider says about itself when it is asked by a harmless call."""

from __future__ import annotations

from collections.abc import Iterator

from billhook.config import masked, settings_of
from billhook.errors import BillhookError
from billhook.provider import Finding, Severity, SupportsCheck
from billhook_web.doctor.finding import Diagnosis, warning
from billhook_web.runtime import Runtime
from billhook_web.services.connections import Connection
from billhook_web.stores import conditions

NOT_SET = "not set"

_TROUBLES = {
    "down": ("Its work waits: ", "Look at the provider's status page; calls go on by themselves."),
    "failing": ("Its plugin failed: ", "Report it to the plugin's author."),
    "stale": ("", "Correct the secret; running processes take it up within seconds."),
}


def settings(runtime: Runtime) -> Iterator[Diagnosis]:
    """Look for connections that receive webhooks and have no secret to verify them with."""
    for each in runtime.connections.all():
        if each.source is None or each.settings is None:
            continue
        shown = masked(each.settings)
        for setting in settings_of(type(each.settings), each.name):
            if setting.secret and "webhook" in setting.name and shown[setting.name] in (NOT_SET, ""):
                what = f"{setting.variable} is not set: its webhooks cannot be verified."
                yield warning(f"connection {each.name}", what, f"Set {setting.variable}.")


def health(runtime: Runtime) -> Iterator[Diagnosis]:
    """Tell which providers did not answer the host's calls, and which plugins failed lately. Needs the tables."""
    now = runtime.clock.now()
    with runtime.db.read() as tx:
        known = conditions.of_all(tx)
    for each in runtime.connections.all():
        found = known.get(each.name)
        trouble = found.trouble(now) if found else None
        if found and trouble:
            beginning, fix = _TROUBLES[trouble]
            yield warning(f"connection {each.name}", f"{beginning}{found.told(now)}", fix)


def connections(runtime: Runtime) -> Iterator[Diagnosis]:
    """Have every connection look at its own set-up."""
    for each in runtime.connections.all():
        for found in findings_of(each):
            about = f"connection {each.name}"
            yield Diagnosis(about=about, severity=found.severity, what=found.what, fix=found.fix)


def findings_of(connection: Connection) -> Iterator[Finding]:
    """Return what one connection finds. Texts come from the provider: take the secrets out before they are shown."""
    if connection.problem is not None:
        fix = f"See 'billhook plugins check {connection.plugin}'."
        yield Finding(
            severity=Severity.ERROR, what=f"The plugin is out of order: {connection.problem}", fix=fix
        )
        return
    parts: list[object] = [connection.engine, connection.provider, connection.source, connection.channel]
    able = {id(part): part for part in parts if isinstance(part, SupportsCheck)}  # one object may be several
    if not able:
        yield Finding(
            severity=Severity.OK, what="The settings are complete; this plugin has no further check."
        )
    for part in able.values():
        yield from _checked(part)


def _checked(part: SupportsCheck) -> Iterator[Finding]:
    try:
        yield from part.check()
    except BillhookError as exc:
        fix = "Check its address and credentials, and whether it is reachable from here."
        yield Finding(severity=Severity.ERROR, what=f"The provider could not be asked: {exc}", fix=fix)
    except Exception as exc:  # noqa: BLE001 - foreign code: the other connections are still checked
        fix = "Report it to the plugin's author."
        yield Finding(severity=Severity.ERROR, what=f"The check failed: {type(exc).__name__}: {exc}", fix=fix)
