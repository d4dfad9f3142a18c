"""Where the browser is."""

from __future__ import annotations

import os
import shutil


def chromium_path() -> str | None:
    """Return the Chromium to drive: named by BILLHOOK_TEST_CHROMIUM, else on PATH, else None."""
    named = os.environ.get("BILLHOOK_TEST_CHROMIUM")
    return named or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
