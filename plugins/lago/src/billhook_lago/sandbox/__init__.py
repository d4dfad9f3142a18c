"""A Lago to develop and test against: real wire format, real webhooks, scripted faults, no network.

``billhook sandbox lago``, ``billhook demo`` and the tests all run this one. It plays the behaviour of Lago 1.51 that
Billhook depends on, and the official Python client is its oracle (``tests/test_sandbox_oracle.py``). Needs the extra
``sandbox`` (werkzeug).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from billhook.clock import Clock
from billhook.testing.sandbox import post_to
from billhook_lago.sandbox.app import VERSION, LagoSandbox, RecordedRequest
from billhook_lago.sandbox.story import LagoStory

__all__ = ["VERSION", "LagoSandbox", "RecordedRequest", "Sandbox", "create_sandbox"]

_API_KEY = "lago-sandbox-key"
_HMAC_KEY = "lago-sandbox-hmac-key"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The sandbox as a runner sees it: an app to serve, the settings a host needs, and two things to do regularly."""

    wsgi: LagoSandbox

    @property
    def story(self) -> LagoStory:
        """Return the sandbox as the demo plays it."""
        return LagoStory(self.wsgi)

    def environment(self, base_url: str) -> dict[str, str]:
        """Return the connection fields of a host that talks to this sandbox at ``base_url``."""
        return {
            "API_URL": f"{base_url.rstrip('/')}/api/v1",
            "API_KEY": _API_KEY,
            "WEBHOOK_SECRET": _HMAC_KEY,
            "WEBHOOK_ALGORITHM": "hmac",
        }

    def deliver_webhooks(self) -> int:
        """Attempt every webhook that is due; return the number of attempts."""
        return self.wsgi.deliver_webhooks()

    def tick(self) -> int:
        """Let time take effect; return how many things happened."""
        return self.wsgi.tick()


def create_sandbox(
    *, clock: Clock, webhook_url: str | None, settings: Mapping[str, str] = MappingProxyType({})
) -> Sandbox:
    """Return a sandbox that sends its webhooks to ``webhook_url`` (None: accepts them silently).

    :param settings: ``premium`` (``true`` unless ``false``) and ``tax_rate`` (percent, default 0).
    """
    target = {} if webhook_url is None else {"webhook_url": webhook_url}
    app = LagoSandbox(
        clock=clock,
        api_key=_API_KEY,
        hmac_key=_HMAC_KEY,
        premium=settings.get("premium", "true").lower() != "false",
        tax_rate=float(settings.get("tax_rate", "0")),
        post=None if webhook_url is None else post_to(webhook_url),
        **target,
    )
    return Sandbox(app)
