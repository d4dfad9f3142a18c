"""Looking at a connection's set-up."""

from __future__ import annotations

import pytest

from billhook.provider import Severity
from billhook_stripe.provider import StripePayments


@pytest.fixture
def found(context):
    """Return what the check says, as (severity, text)."""

    def check(**settings) -> list[tuple[Severity, str]]:
        provider = StripePayments.connect(context(**settings))
        return [(finding.severity, f"{finding.what} {finding.fix}") for finding in provider.check()]

    return check


def endpoint(api, url="https://billing.example/webhooks/stripe", **more: str) -> None:
    api.post("/v1/webhook_endpoints", {"url": url, "enabled_events[0]": "*"} | more)


def test_a_key_that_is_not_accepted_ends_the_check(found):
    ((severity, text),) = found(api_key="sk_test_some_other_key")
    assert severity is Severity.ERROR
    assert "STRIPE_API_KEY" in text


def test_an_endpoint_that_is_told_everything_is_well(found, api):
    endpoint(api)
    assert [severity for severity, _ in found()] == [Severity.OK, Severity.OK]


def test_a_missing_endpoint_or_event_is_a_warning_that_names_it(found, api):
    assert "No webhook endpoint ends in /webhooks/stripe" in found()[-1][1]
    endpoint(api, **{"enabled_events[0]": "payment_intent.succeeded"})
    severity, text = found()[-1]
    assert severity is Severity.WARNING
    assert "payment_intent.payment_failed" in text


def test_a_disabled_endpoint_is_an_error(found, api, sandbox):
    endpoint(api)
    ref = api.get("/v1/webhook_endpoints")["data"][0]["id"]
    api.post(f"/v1/webhook_endpoints/{ref}", {"disabled": "true"})
    assert found()[-1][0] is Severity.ERROR


def test_live_cards_never_meet_a_stand_in_script(found):
    findings = found(api_key="sk_live_0123456789", publishable_key="pk_live_0123456789")
    assert any(severity is Severity.ERROR for severity, _ in findings)
