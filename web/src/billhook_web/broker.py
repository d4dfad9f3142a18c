"""The queue: Dramatiq in the process, or on Redis. A message is a wake-up call that carries one id.

Nothing is lost with a message: the row it names stays due, and the sweeper sends another. So there are no retries, no
results and no age limit here; all of that is in the database.
"""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware, ShutdownNotifications, TimeLimit

TIME_LIMIT_MS = 110_000  # shorter than a lease: a stuck actor gives up before its row is taken by another
NAMESPACE = "billhook"


def make_broker(redis_url: str | None) -> dramatiq.Broker:
    """Return the broker for this URL; without one, the broker inside this process."""
    middleware: list[Middleware] = [TimeLimit(time_limit=TIME_LIMIT_MS), ShutdownNotifications()]
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
