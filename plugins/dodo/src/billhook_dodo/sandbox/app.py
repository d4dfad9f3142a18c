"""The sandbox itself: a WSGI app that speaks Dodo's API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from billhook.clock import Clock
from billhook.testing.sandbox import Post

from .desk import Desk
from .frontdoor import FrontDoor
from .state import Settings
from .story import DodoStory

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

API_KEY = "sandbox_dodo_key"
WEBHOOK_SECRET = "whsec_ZG9kby1zYW5kYm94LW5vdC1hLXJlYWwtc2VjcmV0"  # noqa: S105 - known to everybody on purpose


class DodoSandbox(Desk):
    """Dodo Payments in one object: a WSGI app, stateful, safe to share between threads.

    Money calls ignore ``Idempotency-Key``, as Dodo's do, so ``payments`` counts what a caller really charged.
    Webhooks leave when :meth:`deliver_webhooks` is called; with ``post`` None nobody is told unless an endpoint is
    registered through the API.

    :param clock: tells the time of everything, including refund windows and webhook retries.
    :param public_url: where this app can be reached, for the links it hands out.
    :param post: sends one webhook to the default endpoint, which is registered as ``webhook_url``.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        api_key: str = API_KEY,
        webhook_secret: str = WEBHOOK_SECRET,
        webhook_url: str = "",
        public_url: str = "http://127.0.0.1:8402",
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
        self.webhook_secret = webhook_secret
        self._door = FrontDoor(self, api_key=api_key)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one HTTP request."""
        return self._door.answer(Request(environ))(environ, start_response)

    @property
    def wsgi(self) -> DodoSandbox:
        """The app to mount."""
        return self

    @property
    def story(self) -> DodoStory:
        """Return the sandbox as the demo plays it."""
        return DodoStory(self)

    def environment(self, base_url: str) -> dict[str, str]:
        """Return the connection's environment fields, without the connection's prefix.

        ``base_url`` is where the app is mounted; the pages it hands out are under it from now on.
        """
        with self.lock:
            self.world.public_url = base_url.rstrip("/")
        return {
            "API_URL": base_url,
            "API_KEY": self.api_key,
            "WEBHOOK_SECRET": self.webhook_secret,
            "MODE": "test",
        }
