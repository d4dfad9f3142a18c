"""For your own code: ask Billhook what a customer may use, and have an answer when it cannot be asked.

::

    billing = BillhookClient("https://billing.example.com", key, on_outage="last_known")
    if not billing.access(customer_id).allowed:
        ...

An answer is remembered for a second; later the host is asked whether it is still so (``ETag``). When it cannot be
asked, the signed lease that came with the last answer holds for up to five minutes, then what you declared. Webhooks and
leases are verified offline. :class:`AsyncBillhookClient` is the twin for asyncio.
"""

from billhook.client.answer import Access, Level, Source, SubscriptionAccess
from billhook.client.asynchronous import AsyncBillhookClient
from billhook.client.leases import verify_lease
from billhook.client.outage import OnOutage
from billhook.client.sync import BillhookClient
from billhook.client.webhooks import AccessChanged, WebhookEvent, verify_webhook

__all__ = [
    "Access",
    "AccessChanged",
    "AsyncBillhookClient",
    "BillhookClient",
    "Level",
    "OnOutage",
    "Source",
    "SubscriptionAccess",
    "WebhookEvent",
    "verify_lease",
    "verify_webhook",
]
