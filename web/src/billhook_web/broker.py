"""The queue: Dramatiq in the process, or on Redis. A message is a wake-up call that carries one id.

Nothing is lost with a message: the row it names stays due, and the sweeper sends another. So there are no retries, no
results and no age limit here; all of that is in the database.
"""

from __future__ import annotations

from datetime import timedelta

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware, ShutdownNotifications, TimeLimit
from dramatiq.middleware.time_limit import TimeLimitExceeded

__all__ = ["TimeLimitExceeded", "answers", "make_broker"]

WATCH = timedelta(seconds=0.25)
"""How often it is looked whether work takes too long."""

NAMESPACE = "billhook"


def make_broker(redis_url: str | None, *, time_limit: timedelta) -> dramatiq.Broker:
    """Return the broker for this URL; without one, the broker inside this process.

    :param time_limit: shorter than a lease, so that a stuck actor gives up before its row is taken by another. It is
        interrupted by an exception when it next runs Python; one that hangs in C keeps its thread, and only that.
    """
    limit = TimeLimit(
        time_limit=time_limit.total_seconds() * 1000, interval=round(WATCH.total_seconds() * 1000)
    )
    middleware: list[Middleware] = [limit, ShutdownNotifications()]
    if redis_url is None:
        return StubBroker(middleware=middleware)
    from dramatiq.brokers.redis import RedisBroker  # an extra: needed only when Redis is configured

    return RedisBroker(url=redis_url, namespace=NAMESPACE, middleware=middleware)


def answers(broker: dramatiq.Broker) -> bool:
    """Say whether the queue can be reached."""
    client = getattr(broker, "client", None)
    if client is None:
        return True
    from redis.exceptions import RedisError  # there is a client, so the extra is installed

    try:
        client.ping()
    except (OSError, RedisError):
        return False
    return True
