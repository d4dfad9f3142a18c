"""The host itself: plugins, database, queue, keys."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from billhook.plugins import PluginStatus
from billhook_web import broker
from billhook_web.db import DatabaseError
from billhook_web.doctor.finding import Diagnosis, error, ok, warning
from billhook_web.runtime import Runtime
from billhook_web.stores import accounts, schema

NETWORK_FILESYSTEMS = ("nfs", "cifs", "smb", "9p", "ceph", "glusterfs", "fuse.sshfs", "afs", "lustre")
MOUNTS = Path("/proc/self/mounts")

_OUT = (PluginStatus.ERROR, PluginStatus.INCOMPATIBLE)


def plugins(runtime: Runtime) -> Iterator[Diagnosis]:
    """Look at the plugins that are to be loaded."""
    states = [state for state in runtime.registry.states() if state.distribution or state.status in _OUT]
    for state in states:
        if state.status in _OUT:
            fix = f"See 'billhook plugins check {state.name}'; install a version that fits, or report it."
            yield error(f"plugin {state.name}", f"It is out of order: {state.reason}", fix)
        elif state.status is PluginStatus.ENABLED:
            yield ok(f"plugin {state.name}", f"Loaded, version {state.version or 'unknown'}.")
    if not runtime.connections.all():
        yield warning(
            "configuration", "Nothing is connected.", "Set BILLHOOK_CONNECTIONS to the plugins to use."
        )


def database(runtime: Runtime) -> Generator[Diagnosis, None, bool]:
    """Look at the database; return whether it can be asked for more."""
    if not runtime.db.reachable():
        yield error("database", "It does not answer.", "Check BILLHOOK_DATABASE_URL and that it runs.")
        return False
    yield from _file(runtime)
    try:
        with runtime.db.begin():
            pass  # on SQLite this takes the write lock
        found = schema.revision(runtime.db)
    except DatabaseError as exc:
        fix = "It may be read-only, or locked for long by another program: stop that."
        yield error("database", f"It cannot be written to ({type(exc).__name__}).", fix)
        return False
    if found != schema.newest():
        what = f"Its tables are at revision {found or 'none'}; this version needs {schema.newest()}."
        yield error("database", what, "Run 'billhook db upgrade'.")
        return False
    yield ok("database", f"It answers and its tables are current (revision {found}).")
    return True


def _file(runtime: Runtime) -> Iterator[Diagnosis]:
    name = runtime.db.url.database
    if not runtime.db.is_sqlite or not name:
        return
    kind = filesystem_of(Path(name).absolute(), _mounts())
    if kind.startswith(NETWORK_FILESYSTEMS):
        what = f"The SQLite file is on a network file system ({kind}), where locks do not hold."
        yield error("database", what, "Move BILLHOOK_HOME to a local disk, or use PostgreSQL.")


def filesystem_of(path: Path, mounts: str) -> str:
    """Return the kind of file system that holds ``path``; empty when ``mounts`` (as in /proc/mounts) does not say."""
    rows = [line.split() for line in mounts.splitlines()]
    holding = [
        (row[1], row[2]) for row in rows if len(row) > 2 and path.is_relative_to(row[1].replace("\\040", " "))
    ]
    return max(holding, key=lambda mount: len(mount[0]), default=("", ""))[1]


def _mounts() -> str:
    try:
        return MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # not Linux


def queue(runtime: Runtime) -> Iterator[Diagnosis]:
    """Look at the queue."""
    if runtime.embedded:
        yield ok("queue", "Background work runs inside 'billhook serve'.")
    elif broker.answers(runtime.broker):
        yield ok("queue", "Redis answers.")
    else:
        yield error("queue", "Redis does not answer.", "Check BILLHOOK_REDIS_URL and that it runs.")


def api_keys(runtime: Runtime) -> Iterator[Diagnosis]:
    """Look whether anybody may call the API."""
    with runtime.db.read() as tx:
        in_force = [key for key in accounts.list_api_keys(tx) if key.revoked_at is None]
    if in_force or runtime.configuration.host.api_key:
        yield ok("API", "There is a key in force.")
    else:
        fix = "Set BILLHOOK_API_KEY, or run 'billhook keys create NAME'."
        yield warning("API", "There is no key: nobody can call it.", fix)
