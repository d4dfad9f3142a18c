"""The sandbox itself: a WSGI app that speaks Stripe's API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from billhook.clock import Clock
from billhook.testing.sandbox import Post

from .desk import Desk
from .frontdoor import FrontDoor
from .story import StripeStory
from .world import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

API_KEY = "sk_test_sandboxsandboxsandbox"
PUBLISHABLE_KEY = "pk_test_sandboxsandboxsandbox"
WEBHOOK_SECRET = "whsec_sandbox_not_a_real_secret"  # noqa: S105 - known to everybody on purpose


class StripeSandbox(Desk):
    """Stripe in one object: a WSGI app, stateful, safe to share between threads.

    It honours idempotency keys for 24 hours, as Stripe does; ``charges`` counts what a caller really charged. Webhooks
    leave when :meth:`deliver_webhooks` is called; with ``post`` None nobody is told unless an endpoint is registered
    through the API. ``/js/stripe.js`` stands in for Stripe.js, see :mod:`.browser`.

    :param clock: tells the time of everything.    :param public_url: where this app can be reached by a browser.
    :param post: sends one webhook to the default endpoint, which is registered as ``webhook_url``.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        api_key: str = API_KEY,
        publishable_key: str = PUBLISHABLE_KEY,
        webhook_secret: str = WEBHOOK_SECRET,
        webhook_url: str = "",
        public_url: str = "http://127.0.0.1:8403",
        post: Post | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__(
            clock=clock,
            webhook_secret=webhook_secret,
            webhook_url=webhook_url,
            public_url=public_url,
            post=post,
            settings=settings or Settings(),
        )
        self.api_key = api_key
        self.publishable_key = publishable_key
        self.webhook_secret = webhook_secret
        self._door = FrontDoor(self, api_key=api_key, publishable_key=publishable_key)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one HTTP request."""
        return self._door.answer(Request(environ))(environ, start_response)

    @property
    def wsgi(self) -> StripeSandbox:
        """The app to mount."""
        return self

    @property
    def story(self) -> StripeStory:
        """Return the sandbox as the demo plays it."""
        return StripeStory(self)

    def environment(self, base_url: str) -> dict[str, str]:
        """Return the connection's environment fields, without the connection's prefix.

        ``base_url`` is where the app is mounted; the pages it hands out are under it from now on.
        """
        base = base_url.rstrip("/")
        with self.lock:
            self.world.public_url = base
        return {
            "API_URL": base,
            "API_KEY": self.api_key,
            "PUBLISHABLE_KEY": self.publishable_key,
            "WEBHOOK_SECRET": self.webhook_secret,
            "JS_URL": f"{base}/js/stripe.js",
        }
