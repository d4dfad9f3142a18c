"""Dodo Payments to run at home: the real wire format, no account, no money.

``DodoSandbox`` is the WSGI app with all its handles; :func:`create_sandbox` is what the host calls.
"""

from __future__ import annotations

from collections.abc import Mapping

from billhook.clock import Clock
from billhook.errors import ConfigInvalid, Problem
from billhook.testing.sandbox import post_to

from .app import API_KEY, WEBHOOK_SECRET, DodoSandbox
from .errors import ApiError
from .state import Settings

__all__ = ["API_KEY", "WEBHOOK_SECRET", "ApiError", "DodoSandbox", "Settings", "create_sandbox"]

_NO_SETTINGS: Mapping[str, str] = {}
_KNOWN = ("api_key", "webhook_secret", "tax_rate_percent", "adaptive_currency", "settlement_currency")


def create_sandbox(
    *, clock: Clock, webhook_url: str | None, settings: Mapping[str, str] = _NO_SETTINGS
) -> DodoSandbox:
    """Return a sandbox that reports to ``webhook_url``, as an endpoint (None: to nobody until one is registered).

    ``settings`` are words: ``api_key``, ``webhook_secret``, ``tax_rate_percent`` (0 to 100), ``adaptive_currency``
    (``true`` or ``false``), ``settlement_currency``. Raises ConfigInvalid with every problem at once.
    """
    problems = [
        Problem(name, "is no setting of the Dodo sandbox.", f"Use one of {', '.join(_KNOWN)}.")
        for name in sorted(settings.keys() - set(_KNOWN))
    ]
    rate, adaptive = settings.get("tax_rate_percent", "0"), settings.get("adaptive_currency", "false")
    if not (rate.isascii() and rate.isdigit() and int(rate) <= 100):
        problems.append(
            Problem("tax_rate_percent", f"{rate!r} is no tax rate.", "Use a whole number up to 100.")
        )
    if adaptive not in ("true", "false"):
        problems.append(Problem("adaptive_currency", f"{adaptive!r} is no switch.", "Use true or false."))
    if problems:
        raise ConfigInvalid(problems)
    return DodoSandbox(
        clock=clock,
        api_key=settings.get("api_key", API_KEY),
        webhook_secret=settings.get("webhook_secret", WEBHOOK_SECRET),
        webhook_url=webhook_url or "",
        post=post_to(webhook_url) if webhook_url else None,
        settings=Settings(
            tax_rate_percent=int(rate),
            adaptive_currency=adaptive == "true",
            settlement_currency=settings.get("settlement_currency"),
        ),
    )
