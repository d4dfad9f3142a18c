"""Where the browser is, and what looks for barriers in its pages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

AXE = Path(__file__).parents[2] / ".bootstrap" / "axe" / "axe.min.js"
"""Where `make browser` puts axe."""


def chromium_path() -> str | None:
    """Return the Chromium to drive: named by BILLHOOK_TEST_CHROMIUM, else on PATH, else None."""
    named = os.environ.get("BILLHOOK_TEST_CHROMIUM")
    return named or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


def axe_path() -> str | None:
    """Return the axe.min.js to run in pages: named by BILLHOOK_TEST_AXE, else the one that was fetched, else None."""
    return os.environ.get("BILLHOOK_TEST_AXE") or (str(AXE) if AXE.exists() else None)
