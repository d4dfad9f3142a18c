"""Stripe to run at home: the real wire format, no account, no money.

``StripeSandbox`` is the WSGI app with all its handles; :func:`create_sandbox` is what the host calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from billhook.clock import Clock
from billhook.errors import ConfigInvalid, Problem
from billhook.testing.sandbox import post_to

from .app import API_KEY, PUBLISHABLE_KEY, WEBHOOK_SECRET, StripeSandbox
from .errors import ApiError
from .world import Settings

__all__ = [
    "API_KEY",
    "PUBLISHABLE_KEY",
    "WEBHOOK_SECRET",
    "ApiError",
    "Settings",
    "StripeSandbox",
    "create_sandbox",
]

_NO_SETTINGS: Mapping[str, str] = {}
_DELAYS = {"debit_delay": 259_200, "refund_delay": 0, "search_delay": 60}  # in seconds
_KNOWN = ("api_key", "publishable_key", "webhook_secret", *(f"{name}_seconds" for name in _DELAYS))


def create_sandbox(
    *, clock: Clock, webhook_url: str | None, settings: Mapping[str, str] = _NO_SETTINGS
) -> StripeSandbox:
    """Return a sandbox that reports to ``webhook_url``, as an endpoint (None: to nobody until one is registered).

    ``settings`` are words: ``api_key``, ``publishable_key``, ``webhook_secret``, and in whole seconds
    ``debit_delay_seconds``, ``refund_delay_seconds`` and ``search_delay_seconds``. Raises ConfigInvalid with every
    problem at once.
    """
    problems = [
        Problem(name, "is no setting of the Stripe sandbox.", f"Use one of {', '.join(_KNOWN)}.")
        for name in sorted(settings.keys() - set(_KNOWN))
    ]
    seconds = {name: settings.get(f"{name}_seconds", str(usual)) for name, usual in _DELAYS.items()}
    problems += [
        Problem(f"{name}_seconds", f"{value!r} is no number of seconds.", "Use a whole number.")
        for name, value in seconds.items()
        if not (value.isascii() and value.isdigit() and len(value) <= 9)
    ]
    if problems:
        raise ConfigInvalid(problems)
    debit, refund, search = (timedelta(seconds=int(seconds[name])) for name in _DELAYS)
    return StripeSandbox(
        clock=clock,
        api_key=settings.get("api_key", API_KEY),
        publishable_key=settings.get("publishable_key", PUBLISHABLE_KEY),
        webhook_secret=settings.get("webhook_secret", WEBHOOK_SECRET),
        webhook_url=webhook_url or "",
        post=post_to(webhook_url) if webhook_url else None,
        settings=Settings(debit_delay=debit, refund_delay=refund, search_delay=search),
    )
