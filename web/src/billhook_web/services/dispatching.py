"""Sending webhooks: take what is due for an endpoint, post it outside any transaction, record what came of it.

At least once: a process that dies between the post and the record leaves a lease that ends, and the same message, with
the same id, is sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from billhook.clock import Clock, jitter, monotonic
from billhook.errors import BillhookError, SealBroken, Unsupported
from billhook.http import Answer, Post, retry_after
from billhook.signing import StandardWebhooks
from billhook_web.broker import TimeLimitExceeded
from billhook_web.db import Database, Tx
from billhook_web.sealing import Sealer
from billhook_web.services.meters import Meters
from billhook_web.services.patience import (
    GIVE_UP_AFTER,
    LONGEST_PAUSE,
    RECOVERED_AFTER,
    pause_after,
    wait_after,
)
from billhook_web.services.places import Places
from billhook_web.stores import audit, endpoints, outgoing
from billhook_web.stores.endpoints import Because, Endpoint
from billhook_web.stores.outgoing import AttemptRow, Claimed, DeliveryStatus

log = structlog.get_logger(__name__)

TURN_SECONDS: Final = 10.0
"""How long one wake-up goes on with an endpoint before others have their turn."""

LEASE: Final = timedelta(minutes=2)
"""How long a delivery rests after its process died; an attempt ends well within it."""

SHOWN_AT_MOST: Final = 1024
"""Bytes of an answer that are kept for the log of deliveries."""

HOST: Final = "host"
GONE: Final = 410
TOO_MUCH: Final = (429, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one attempt. ``ours``: nothing was sent, and it was not the receiver's fault."""

    seconds: float
    answer: Answer | None = None
    error: str | None = None
    wait: timedelta | None = None
    ours: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it (2xx)."""
        return self.answer is not None and 200 <= self.answer.status < 300


class Dispatcher:
    """Sends webhooks, those of one customer to one endpoint one after the other."""

    def __init__(
        self, *, db: Database, clock: Clock, sealer: Sealer, post: Post, redact: Callable[[str], str],
        meters: Meters,
    ) -> None:  # fmt: skip
        self._db = db
        self._clock = clock
        self._sealer = sealer
        self._post = post
        self._redact = redact
        self._meters = meters
        self._places = Places()

    def work(self, endpoint_id: int) -> tuple[int, ...]:
        """Send what is due for an endpoint, for some seconds; return the endpoints to wake."""
        with self._db.read() as tx:
            endpoint = endpoints.get(tx, endpoint_id)
        if endpoint is None or not endpoint.enabled:
            return ()
        more = False
        with self._places.take(endpoint_id, failing=endpoint.failures > 0) as place:
            if place.taken:
                more = self._send_some(endpoint_id)
        return (*place.woken, *((endpoint_id,) if more and endpoint_id not in place.woken else ()))

    def _send_some(self, endpoint_id: int) -> bool:
        """Send until nothing is due, something fails, or the turn is over; say whether there may be more."""
        until = monotonic() + TURN_SECONDS
        while monotonic() < until:
            went_well = self._send_next(endpoint_id)
            if went_well is None:
                return False
            if not went_well:
                break
        return True

    def _send_next(self, endpoint_id: int) -> bool | None:
        """Make one attempt and say whether it was delivered; None: nothing is due."""
        now = self._clock.now()
        with self._db.begin() as tx:
            endpoint = endpoints.get(tx, endpoint_id)
            if endpoint is None or not endpoint.enabled or (endpoint.resume_at or now) > now:
                return None
            taken = outgoing.claim(tx, endpoint_id, now=now, lease=LEASE)
        if taken is None:
            return None
        tried = self._try(endpoint, taken, now)
        self._places.note(endpoint_id, seconds=tried.seconds)
        self._record(endpoint_id, taken, tried)
        return tried.delivered

    def _try(self, endpoint: Endpoint, taken: Claimed, now: datetime) -> Tried:
        started = monotonic()
        body = taken.body.encode()
        try:
            headers = self._signer(endpoint, now).sign(body, webhook_id=taken.key, at=now)
        except (SealBroken, Unsupported) as exc:
            return Tried(seconds=0.0, error=self._said(exc), ours=True)
        headers["Content-Type"] = "application/json"
        try:
            answer = self._post(endpoint.url, headers=headers, body=body)
        except BillhookError as exc:
            return Tried(seconds=monotonic() - started, error=self._said(exc))
        except (Exception, TimeLimitExceeded) as exc:  # noqa: BLE001 - the edge: the message stays and is sent again
            log.warning("webhook.attempt_broke", endpoint_id=endpoint.id, error=type(exc).__name__)
            return Tried(seconds=monotonic() - started, error=f"The attempt broke: {type(exc).__name__}")
        seconds = monotonic() - started
        wait = retry_after(answer.headers, self._clock.now)
        return Tried(seconds=seconds, answer=answer, error=_complaint(answer), wait=wait)

    def _signer(self, endpoint: Endpoint, now: datetime) -> StandardWebhooks:
        """Return what signs for this endpoint: with the new secret, and with the one before while both are valid."""
        sealed = [endpoint.secret or ""]
        if endpoint.previous_secret and endpoint.previous_until and endpoint.previous_until > now:
            sealed.append(endpoint.previous_secret)
        purpose = endpoints.purpose(endpoint.id)
        return StandardWebhooks([self._sealer.open(each, purpose=purpose) for each in sealed])

    def _said(self, exc: BillhookError) -> str:
        return self._redact(str(exc))

    # --- what came of it -----------------------------------------------------------------------------------------

    def _record(self, endpoint_id: int, taken: Claimed, tried: Tried) -> None:
        now = self._clock.now()
        with self._db.begin() as tx:
            endpoint = endpoints.lock(tx, endpoint_id)
            outgoing.note_attempt(tx, taken.id, self._attempt(tried, now))
            disabled = None if endpoint is None else self._settle(tx, endpoint, taken, tried, now)
        outcome = "delivered" if tried.delivered else "failed"
        self._meters.webhook(outcome, seconds=tried.seconds)
        status = tried.answer.status if tried.answer else None
        log.info(
            "webhook.tried", endpoint_id=endpoint_id, delivery_id=taken.id, message_id=taken.key, outcome=outcome,
            status=status, attempt=taken.attempts, ms=round(tried.seconds * 1000),
        )  # fmt: skip
        if disabled is not None:
            self._meters.webhook_endpoint_disabled(disabled)
            log.warning("webhook.endpoint_disabled", endpoint_id=endpoint_id, reason=str(disabled))

    def _settle(
        self, tx: Tx, endpoint: Endpoint, taken: Claimed, tried: Tried, now: datetime
    ) -> Because | None:
        """Write what follows for the delivery and the endpoint; return why the endpoint is disabled now, if it is."""
        if tried.delivered:
            self._delivered(tx, endpoint, taken, now)
        elif tried.ours:
            self._not_sent(tx, endpoint, taken, tried, now)
        else:
            return self._failed(tx, endpoint, taken, tried, now)
        return None

    def _attempt(self, tried: Tried, now: datetime) -> AttemptRow:
        answer = tried.answer
        return AttemptRow(
            at=now,
            milliseconds=round(tried.seconds * 1000),
            outcome="delivered" if tried.delivered else "failed",
            status_code=answer.status if answer else None,
            response=self._redact(_readable(answer.body)) if answer else None,
            error=tried.error,
        )

    def _delivered(self, tx: Tx, endpoint: Endpoint, taken: Claimed, now: datetime) -> None:
        outgoing.finish(tx, taken, status=DeliveryStatus.DELIVERED, now=now)
        since = endpoint.failing_since
        if since is None and not endpoint.failures and endpoint.resume_at is None:
            return
        endpoints.change(tx, endpoint.id, now=now, failures=0, failing_since=None, resume_at=None)
        if since is not None and now - since >= RECOVERED_AFTER:
            outgoing.hasten(tx, endpoint.id, now=now)

    def _not_sent(self, tx: Tx, endpoint: Endpoint, taken: Claimed, tried: Tried, now: datetime) -> None:
        """Its secret cannot be opened: wait for the operator, however long that takes."""
        later = now + LONGEST_PAUSE
        outgoing.postpone(tx, taken, now=now, due_at=later, error=tried.error or "", counts=False)
        endpoints.change(tx, endpoint.id, now=now, resume_at=later)

    def _failed(
        self, tx: Tx, endpoint: Endpoint, taken: Claimed, tried: Tried, now: datetime
    ) -> Because | None:
        since = endpoint.failing_since or now
        status = tried.answer.status if tried.answer else None
        end = (taken.failing_since or now) + GIVE_UP_AFTER
        over = now >= end
        because = _disabling(status, now - since)
        if over and because is None:  # others were delivered meanwhile: it is this one
            outgoing.finish(tx, taken, status=DeliveryStatus.GIVEN_UP, now=now, error=tried.error)
        else:
            wait = jitter(wait_after(taken.failures + 1, retry_after=tried.wait))
            due_at = min(now + wait, end)
            outgoing.postpone(tx, taken, now=now, due_at=due_at, error=tried.error or "")
        if not endpoint.enabled:
            return None
        pause = pause_after(endpoint.failures + 1, retry_after=tried.wait if status in TOO_MUCH else None)
        endpoints.change(
            tx, endpoint.id, now=now, failures=endpoint.failures + 1, failing_since=since,
            resume_at=None if pause is None else now + pause,
        )  # fmt: skip
        if because is not None:
            self._disable(tx, endpoint, because, now)
        return because

    def _disable(self, tx: Tx, endpoint: Endpoint, because: Because, now: datetime) -> None:
        notice = _NOTICES[because]
        endpoints.disable(tx, endpoint.id, because=because, notice=notice, now=now)
        outgoing.hold(tx, endpoint.id)
        detail = {"reason": str(because), "notice": notice}
        audit.add(
            tx, at=now, actor=HOST, action="webhook_endpoint.disable", subject=endpoint.id, detail=detail
        )


_KEPT = "What it has not got is held and sent, in order, when it is enabled again."
_NOTICES = {
    Because.GONE: f"Disabled: the receiver answered 410 Gone. {_KEPT}",
    Because.FAILING: f"Disabled: nothing was delivered for {GIVE_UP_AFTER.days} days. {_KEPT}",
}


def _disabling(status: int | None, failing_for: timedelta) -> Because | None:
    if status == GONE:
        return Because.GONE
    return Because.FAILING if failing_for >= GIVE_UP_AFTER else None


def _complaint(answer: Answer) -> str | None:
    match answer.status:
        case status if 200 <= status < 300:
            return None
        case status if 300 <= status < 400:
            return f"It was answered {status}; redirects are not followed."
        case status:
            return f"It was answered {status}."


def _readable(body: bytes) -> str:
    """Return the beginning of an answer as text that can be stored and shown."""
    text = body[:SHOWN_AT_MOST].decode("utf-8", "replace")
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)
