"""What each decline means for trying again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from billhook.model import DeclineClass
from billhook_stripe.declines import SENSITIVE, UNSTATED, decline, waits_for_customer

SOFT, HARD, AUTH = DeclineClass.SOFT, DeclineClass.HARD, DeclineClass.AUTHENTICATION
ERRORS = Path(__file__).parent / "fixtures" / "errors"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "card_declined", "decline_code": "insufficient_funds"}, SOFT),
        ({"code": "card_declined", "decline_code": "do_not_honor"}, SOFT),
        ({"code": "card_declined", "decline_code": "code_of_tomorrow"}, SOFT),
        ({"code": "card_declined"}, SOFT),
        ({"code": "processing_error"}, SOFT),
        ({"code": "card_declined", "decline_code": "stolen_card"}, HARD),
        ({"code": "card_declined", "decline_code": "transaction_not_allowed"}, HARD),
        ({"code": "expired_card", "decline_code": "expired_card"}, HARD),
        ({"code": "incorrect_cvc"}, HARD),
        ({"code": "authentication_required", "decline_code": "authentication_required"}, AUTH),
        ({"code": "payment_intent_authentication_failure"}, AUTH),
        ({"code": "setup_intent_authentication_failure"}, AUTH),
    ],
)
def test_the_bank_s_code_decides_where_nobody_advises(error, kind):
    assert decline(error).kind is kind


@pytest.mark.parametrize(
    ("advice", "network", "kind"),
    [
        ("do_not_try_again", None, HARD),
        ("confirm_card_data", None, HARD),
        ("try_again_later", None, SOFT),
        ("try_again_later", "03", SOFT),
        (None, "03", HARD),
        (None, "21", HARD),
        (None, "01", HARD),
        (None, "02", SOFT),
        (None, "30", SOFT),
        (None, "43", HARD),
        ("advice_of_tomorrow", None, SOFT),
        (None, "99", SOFT),
    ],
)
def test_stripe_s_advice_comes_before_the_network_s_and_that_before_the_code(advice, network, kind):
    error = {"code": "card_declined", "decline_code": "generic_decline"}
    assert decline({**error, "advice_code": advice, "network_advice_code": network}).kind is kind


def test_advice_overrules_a_code_that_would_say_otherwise():
    assert decline({"decline_code": "insufficient_funds", "advice_code": "do_not_try_again"}).kind is HARD


@pytest.mark.parametrize("code", sorted(SENSITIVE))
def test_reasons_that_could_warn_a_thief_are_sensitive(code):
    assert decline({"code": "card_declined", "decline_code": code}).sensitive


def test_a_failure_without_a_reason_is_one_all_the_same():
    unstated = decline({})
    assert (unstated.code, unstated.kind, unstated.message) == (UNSTATED, SOFT, "")


def test_only_what_the_customer_can_confirm_waits_for_them():
    def error(name: str) -> dict:
        return json.loads((ERRORS / f"{name}.json").read_text())["body"]["error"]

    assert waits_for_customer(error("pi_create_off_session_authentication_required"))
    assert not waits_for_customer(error("pi_create_insufficient_funds"))
    assert decline(error("pi_create_lost_card")).sensitive
