"""The portal with login by mail, its mail going to a mailbox on loopback."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkzeug.serving import make_server

from billhook_notifications.mailbox import Mailbox
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.services.sweep import sweep
from billhook_web.settings import read_configuration
from billhook_web.stores import schema

_LINK = re.compile(r"http://127\.0\.0\.1:\d+/portal/enter/[\w-]+")


@dataclass
class LoginSite:
    """What is running. Each test takes customers of its own."""

    url: str
    runtime: Runtime
    mailbox: Mailbox

    def customer(self, customer_id: str, **about: object) -> str:
        """Register somebody; return their address."""
        address = f"{customer_id}@customer.test"
        self.runtime.customers.upsert(customer_id, {"email": address, **about})
        return address

    def links_to(self, address: str) -> list[str]:
        """Send what is to be sent; return the links in the mails to an address, the oldest first."""
        for effect_id, _ in sweep(self.runtime.db, now=self.runtime.clock.now()).effects:
            self.runtime.delivery.deliver(effect_id)
        mails = [each for each in self.mailbox.received() if each.recipients == (address,)]
        return [link for mail in mails for link in _LINK.findall(mail.text)]


@contextmanager
def login_site(folder: Path) -> Iterator[LoginSite]:
    """Run it."""
    hosts: list[Any] = []
    server = make_server("127.0.0.1", 0, lambda environ, start: hosts[0](environ, start), threaded=True)
    url = f"http://127.0.0.1:{server.server_port}"
    with Mailbox() as mailbox:
        env = {
            "BILLHOOK_DATABASE_URL": f"sqlite:///{folder / 'login.sqlite3'}",
            "BILLHOOK_PUBLIC_URL": url,
            "BILLHOOK_CONNECTIONS": "mail=notifications",
            "BILLHOOK_PORTAL_EMAIL_LOGIN": "true",
            "BILLHOOK_BRAND_NAME": "Acme",
            "MAIL_SENDER": "Acme Billing <billing@acme.test>",
            "MAIL_TIMEOUT": "60",
            **{f"MAIL_{name}": value for name, value in mailbox.environment().items()},
        }
        runtime = build_runtime(read_configuration(env))
        schema.upgrade(runtime.db)
        hosts.append(create_app(runtime, Wake(runtime)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield LoginSite(url, runtime, mailbox)
        server.shutdown()
        server.server_close()
        runtime.close()
