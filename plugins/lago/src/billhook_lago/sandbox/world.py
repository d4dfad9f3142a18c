"""What every endpoint of the sandbox shares: the ledger, the clock, the account and the webhooks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from billhook.clock import Clock
from billhook_lago.sandbox.ledger import Ledger
from billhook_lago.sandbox.state import Account
from billhook_lago.sandbox.webhooks import Announcer
from billhook_lago.sandbox.wire import Signer


@dataclass(slots=True, kw_only=True)
class World:
    """One sandboxed Lago instance with one organisation. Hold ``lock`` while reading or changing it."""

    clock: Clock
    account: Account
    ledger: Ledger
    signer: Signer
    announce: Announcer
    created_at: datetime
    lock: threading.RLock

    def now(self) -> datetime:
        """Return the sandbox's time."""
        return self.clock.now()
