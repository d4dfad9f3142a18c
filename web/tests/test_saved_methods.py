"""A customer's payment methods: what is listed, how one is added once, what must stay, and what is tried again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from web.tests.keeping import SECRET, Shop, make_shop

from billhook.errors import Conflict, NotFound
from billhook.methods import PageState
from billhook.model import PaymentMethod, Ref, SubscriptionStatus
from billhook.money import Money
from billhook.provider import CollectState
from billhook_web.services.expiry import Expiry, expiry_of, last_day
from billhook_web.services.wallet import Wish
from billhook_web.stores import accounts, audit


@pytest.fixture
def shop(tmp_path: Path, empty_database: Path) -> Iterator[Shop]:
    made = make_shop(Path(shutil.copy(empty_database, tmp_path / "billhook.sqlite3")))
    yield made
    made.runtime.close()


# --- the list --------------------------------------------------------------------------------------------------------


def test_methods_of_every_connection_are_listed_the_default_first(shop: Shop) -> None:
    shop.provider().keep("cus_acct_1", "pm_1")
    shop.provider().keep("cus_acct_1", "pm_2")
    shop.provider("other").keep("cus_acct_1", "pm_3")
    shop.provider().keep("cus_acct_2", "pm_foreign")
    shop.methods.choose("acct_1", "keeps:pm_2")
    assert shop.kept() == ["pm_2", "pm_1", "pm_3"]


def test_a_provider_that_is_down_costs_only_its_own_part(shop: Shop) -> None:
    shop.provider().down = True
    shop.provider("other").keep("cus_acct_1", "pm_3")
    wallet = shop.methods.wallet("acct_1")
    assert [each.ref.id for each in wallet.held] == ["pm_3"]
    assert wallet.silent == ("keeps",)


def test_the_id_a_customer_has_there_is_asked_for_once(shop: Shop) -> None:
    shop.methods.wallet("acct_1")
    shop.methods.wallet("acct_1")
    assert shop.provider().asked == ["provider_customer", "saved_methods", "saved_methods"]
    with shop.runtime.db.read() as tx:
        row = accounts.get_customer(tx, "acct_1")
    assert row is not None
    assert row.customer.provider_ids["keeps"] == "cus_acct_1"


@pytest.mark.parametrize(
    ("expires", "expiry"),
    [
        ("2026-11", Expiry.SOON),
        ("2026-10", Expiry.OVER),
        ("2026-12", Expiry.GOOD),
        ("2030-02", Expiry.GOOD),
        (None, Expiry.NONE),
        ("soon", Expiry.NONE),
        ("2026-13", Expiry.NONE),
    ],
)
def test_a_card_is_good_until_its_month_is_over(expires: str | None, expiry: Expiry) -> None:
    assert expiry_of(expires, today=date(2026, 11, 21)) is expiry


def test_the_last_day_of_a_card_is_the_month_s() -> None:
    assert last_day("2028-02") == date(2028, 2, 29)
    assert last_day("2026-12") == date(2026, 12, 31)
    assert expiry_of("2026-12", today=date(2026, 12, 1)) is Expiry.SOON


# --- adding ----------------------------------------------------------------------------------------------------------


def test_one_form_is_one_set_up_however_often_it_is_sent(shop: Shop) -> None:
    first = shop.begin()
    again = shop.begin()
    assert first.id == again.id
    assert first.client_secret == SECRET
    assert shop.begin("acct_2").id != first.id


def test_a_form_whose_set_up_was_given_up_begins_another(shop: Shop) -> None:
    first = shop.begin()
    shop.provider().stands(first.id, PageState.CANCELED)
    again = shop.begin()
    assert (again.id != first.id, again.state) == (True, PageState.OPEN)


def test_a_form_that_was_sent_from_another_tab_already_leads_to_what_it_saved(shop: Shop) -> None:
    first = shop.begin()
    shop.provider().complete(first.id, "pm_1")
    again = shop.begin()
    assert (again.id, again.state) == (first.id, PageState.SUCCEEDED)


def test_the_first_method_becomes_the_default_whatever_was_wished(shop: Shop) -> None:
    added = shop.add("pm_1", wish=Wish(default=False))
    assert added.settled is not None
    assert added.settled.default
    assert "set_default" in shop.provider().asked


def test_another_method_is_the_default_only_if_wished(shop: Shop) -> None:
    shop.add("pm_1")
    shop.add("pm_2", wish=Wish(default=False))
    assert shop.kept() == ["pm_1", "pm_2"]
    shop.add("pm_3")
    assert shop.kept()[0] == "pm_3"


def test_the_same_card_added_again_is_kept_once_and_stays_the_default(shop: Shop) -> None:
    shop.add("pm_1", fingerprint="f1")
    shop.add("pm_2", wish=Wish(default=False))
    added = shop.add("pm_3", fingerprint="f1", wish=Wish(default=False))
    assert added.settled is not None
    assert (added.settled.replaced, added.settled.default) == ("same", True)
    assert shop.kept() == ["pm_3", "pm_2"]


def test_a_method_takes_the_place_of_the_one_it_replaces(shop: Shop) -> None:
    shop.add("pm_1")
    shop.add("pm_2", wish=Wish(default=False))
    added = shop.add("pm_3", wish=Wish(default=False, replaces=Ref("keeps", "pm_1")))
    assert added.settled is not None
    assert added.settled.replaced == "other"
    assert shop.kept() == ["pm_3", "pm_2"]


def test_nobody_can_have_another_customer_s_method_replaced(shop: Shop) -> None:
    theirs = shop.provider().keep("cus_acct_2", "pm_theirs")
    shop.add("pm_1", wish=Wish(replaces=theirs))
    assert [each.method.ref for each in shop.provider().kept["cus_acct_2"]] == [theirs]


@pytest.mark.parametrize("state", [PageState.OPEN, PageState.PROCESSING, PageState.CANCELED])
def test_a_set_up_that_saved_nothing_changes_nothing(shop: Shop, state: PageState) -> None:
    setup = shop.begin()
    shop.provider().stands(setup.id, state)
    added = shop.methods.finish("acct_1", "keeps", setup.id)
    assert (added.setup.state, added.settled) == (state, None)
    assert "set_default" not in shop.provider().asked


def test_a_set_up_of_another_customer_is_not_there(shop: Shop) -> None:
    setup = shop.begin("acct_2")
    with pytest.raises(NotFound):
        shop.methods.finish("acct_1", "keeps", setup.id)


# --- what could not be collected is tried again ----------------------------------------------------------------------


def test_a_failed_invoice_is_tried_again_once_after_a_method_was_saved(shop: Shop) -> None:
    shop.provider().outcome = CollectState.PROCESSING
    invoice = shop.failed_invoice()
    shop.clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]  # a virtual clock
    setup = shop.begin()
    shop.provider().complete(setup.id, "pm_1")
    first = shop.methods.finish("acct_1", "keeps", setup.id).settled
    assert first is not None
    assert first.invoices == (str(invoice),)
    shop.deliver_what_is_due()
    assert shop.attempts(invoice) == 2
    again = shop.methods.finish("acct_1", "keeps", setup.id).settled
    assert again is not None
    assert again == first
    shop.deliver_what_is_due()
    assert shop.attempts(invoice) == 2


def test_a_method_that_is_not_the_default_changes_nothing_for_invoices(shop: Shop) -> None:
    shop.provider().outcome = CollectState.PROCESSING
    shop.provider().keep("cus_acct_1", "pm_old")
    shop.failed_invoice()
    settled = shop.add("pm_1", wish=Wish(default=False)).settled
    assert settled is not None
    assert settled.invoices == ()


def test_what_is_being_collected_is_left_alone(shop: Shop) -> None:
    shop.provider().outcome = CollectState.PROCESSING
    invoice = shop.engine.bill("acct_1", Money(4_900, "EUR"))
    shop.apply_and_deliver(*shop.engine.facts_of(invoice))
    settled = shop.add("pm_1").settled
    assert settled is not None
    assert settled.invoices == ()


# --- choosing and removing -------------------------------------------------------------------------------------------


def test_the_only_method_stays_while_a_subscription_lives(shop: Shop) -> None:
    shop.add("pm_1")
    shop.subscribe()
    with pytest.raises(Conflict) as caught:
        shop.methods.remove("acct_1", "keeps:pm_1")
    assert caught.value.code == "only"
    shop.subscribe(SubscriptionStatus.ENDED)
    shop.methods.remove("acct_1", "keeps:pm_1")
    assert shop.kept() == []


def test_the_default_stays_while_there_are_others(shop: Shop) -> None:
    shop.add("pm_1")
    shop.add("pm_2")
    with pytest.raises(Conflict) as caught:
        shop.methods.remove("acct_1", "keeps:pm_2")
    assert caught.value.code == "default"
    shop.methods.choose("acct_1", "keeps:pm_1")
    shop.methods.remove("acct_1", "keeps:pm_2")
    assert shop.kept() == ["pm_1"]


@pytest.mark.parametrize("ref", ["keeps:pm_theirs", "nowhere:pm_1", "acme:pm_1", "keeps", ""])
def test_what_is_not_theirs_is_not_there(shop: Shop, ref: str) -> None:
    shop.provider().keep("cus_acct_2", "pm_theirs")
    for act in (shop.methods.choose, shop.methods.remove):
        with pytest.raises(NotFound):
            act("acct_1", ref)


def test_each_change_is_written_down_and_no_secret_is(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        shop.add("pm_1")
        shop.add("pm_2")
        shop.methods.choose("acct_1", "keeps:pm_1")
        shop.methods.remove("acct_1", "keeps:pm_2")
    with shop.runtime.db.read() as tx:
        rows = audit.page(tx, actor="customer:acct_1")
    assert [row.action for row in rows] == [
        "payment_method.remove",
        "payment_method.default",
        "payment_method.add",
        "payment_method.add",
    ]
    assert SECRET not in caplog.text + str(rows)


def test_a_bank_account_has_no_end(shop: Shop) -> None:
    shop.provider().keep("cus_acct_1", "pm_1", kind="sepa_debit", brand=None, expires=None)
    (held,) = shop.methods.wallet("acct_1").held
    assert held.expiry is Expiry.NONE
    assert held.saved.method == replace(held.saved.method, kind="sepa_debit")
    assert isinstance(held.saved.method, PaymentMethod)
