"""The stored secrets: whether their keys are there, and whether an older one is still needed."""

from __future__ import annotations

from collections.abc import Iterator

from billhook_web.doctor.finding import Diagnosis, error, ok, warning
from billhook_web.runtime import Runtime
from billhook_web.services.resealing import survey

ABOUT = "stored secrets"


def secrets(runtime: Runtime) -> Iterator[Diagnosis]:
    """Look at everything that is sealed. Needs the tables."""
    found = survey(runtime.db, runtime.sealer)
    broken = [purpose for each in found for purpose in each.broken]
    older = sum(each.older for each in found) - len(broken)
    if broken:
        shown = ", ".join(broken[:5]) + (" and more" if len(broken) > 5 else "")
        fix = "Add the key that sealed them to BILLHOOK_SECRET_KEY, behind the others, or set them again."
        yield error(ABOUT, f"{len(broken)} cannot be opened with BILLHOOK_SECRET_KEY: {shown}.", fix)
    if older:
        what = f"{older} are sealed with an older key, which must stay until that is changed."
        yield warning(ABOUT, what, "Run 'billhook secrets rotate-key', then drop the older key.")
    total = sum(each.total for each in found)
    if total and not broken and not older:
        yield ok(ABOUT, f"All {total} are sealed with the first key.")
