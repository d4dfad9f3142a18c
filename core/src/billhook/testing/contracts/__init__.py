"""The contract as tests: inherit a suite, fill in its fixtures, and pytest says whether your plugin keeps it.

::

    from billhook.testing.contracts import Sample, WebhookSourceContract

    class TestAcmeWebhooks(WebhookSourceContract):
        @pytest.fixture
        def source(self):
            return AcmeWebhooks(make_context("acme", AcmeConfig(...)))   # from billhook.testing.fakes
        ...

Every fixture that must be filled in says so when it is missing. A test that does not apply (a ``Supports…`` protocol
that is not claimed) is skipped and says why.
"""

from billhook.testing.contracts.billing_engine import BillingEngineContract
from billhook.testing.contracts.methods import MethodManagementContract
from billhook.testing.contracts.notification_channel import NotificationChannelContract
from billhook.testing.contracts.payment_provider import PaymentProviderContract
from billhook.testing.contracts.reconcile import ReconcileContract
from billhook.testing.contracts.webhook_source import Sample, WebhookSourceContract

__all__ = [
    "BillingEngineContract",
    "MethodManagementContract",
    "NotificationChannelContract",
    "PaymentProviderContract",
    "ReconcileContract",
    "Sample",
    "WebhookSourceContract",
]
