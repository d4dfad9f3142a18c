"""What holds for every page and form of the portal, found by walking its routes: a new one is in these tests by itself.

Nothing of another customer's, no form from elsewhere, no markup from names, no frame, no cache, no way out, no secret.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog
from web.tests.keeping import SECRET, Shop, make_shop
from web.tests.portal_visits import Browser, owe
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from billhook.model import Ref, Subscription, SubscriptionStatus
from billhook_web import logs
from billhook_web.portal.visiting import CSRF_HEADER
from billhook_web.services.wallet import Wish
from billhook_web.stores import billing
from billhook_web.stores.billing import Row

LIST = "/portal/payment-methods"
EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}'
THEIR_DIGITS = "9876"


@dataclass
class Theirs:
    """What acct_2 has, by the name it goes by in an address; and what acct_1 has by the same names."""

    shop: Shop
    foreign: dict[str, list[str]]
    own: dict[str, list[str]]

    def routes(self, method: str) -> list[Rule]:
        """Return the portal's routes for a method."""
        rules = self.shop.app.url_map.iter_rules()
        return [
            rule for rule in rules if rule.endpoint.startswith("portal.") and method in (rule.methods or ())
        ]

    def paths(self, rule: Rule, named: dict[str, list[str]]) -> list[str]:
        """Return every address of a route with these values in it. A name that is new needs a value above."""
        names = sorted(rule.arguments)
        build = self.shop.app.url_map.bind("billing.test").build
        return [
            build(
                rule.endpoint,
                dict(zip(names, values, strict=True)),
                method="GET" if rule.methods and "GET" in rule.methods else "POST",
            )
            for values in product(*(named[name] for name in names))
        ]


@pytest.fixture
def theirs(tmp_path: Path, empty_database: Path) -> Iterator[Theirs]:
    shop = make_shop(Path(shutil.copy(empty_database, tmp_path / "billhook.sqlite3")))
    runtime = shop.runtime
    for customer, digits in (("acct_1", "4242"), ("acct_2", THEIR_DIGITS)):
        shop.provider().keep(f"cus_{customer}", f"pm_{customer}", last4=digits)
        shop.provider().keep(f"cus_{customer}", f"pm_{customer}_more", last4=digits)
    yield Theirs(
        shop=shop,
        foreign={
            "ref": ["keeps:pm_acct_2", str(owe(runtime, "acct_2", "theirs")), "keeps:pm_nobody", "nonsense"],
            "connection": ["keeps"],
            "setup": [shop.begin("acct_2").id, "seti_nobody"],
            "_rest": ["pm_acct_2/edit"],
        },
        own={
            "ref": ["keeps:pm_acct_1_more", str(owe(runtime, "acct_1", "mine"))],
            "connection": ["keeps"],
            "setup": [shop.begin("acct_1").id],
            "_rest": ["nothing/at/all"],
        },
    )  # fmt: skip
    shop.runtime.close()


@pytest.fixture
def me(theirs: Theirs) -> Browser:
    return Browser(theirs.shop.runtime, theirs.shop.app).signed_in("acct_1")


def things(theirs: Theirs) -> object:
    """Return everything a customer's forms could change."""
    provider = theirs.shop.provider()
    return {owner: list(kept) for owner, kept in provider.kept.items()}, dict(provider.by_key)


# --- another customer's ids ------------------------------------------------------------------------------------------


def test_another_customer_s_ids_are_not_there_in_any_address_or_form(theirs: Theirs, me: Browser) -> None:
    token, before = me.token(), things(theirs)
    walked = 0
    for method in ("GET", "POST"):
        for rule in theirs.routes(method):
            if rule.arguments <= {"connection"}:
                continue  # names no thing of a customer's
            for path in theirs.paths(rule, theirs.foreign):
                answer = me.get(path) if method == "GET" else me.post(path, data={"csrf_token": token})
                assert answer.status_code == 404, (method, path)
                assert THEIR_DIGITS not in answer.text
                assert SECRET not in answer.text
                walked += 1
    assert walked >= 20
    assert things(theirs) == before


def test_another_customer_s_ids_in_a_query_or_a_field_reach_nothing(theirs: Theirs, me: Browser) -> None:
    assert me.get(f"{LIST}/new?replaces=keeps:pm_acct_2").status_code == 404
    begun = me.post(
        f"{LIST}/begin/keeps",
        data={"csrf_token": me.token(), "form": "f", "default": "1", "replaces": "keeps:pm_acct_2"},
    ).get_json()
    theirs.shop.provider().complete(begun["after"].rpartition("/")[2], "pm_new")
    assert me.get(begun["after"]).status_code == 200
    kept = theirs.shop.provider().kept
    assert [str(each.method.ref) for each in kept["cus_acct_2"]] == [
        "keeps:pm_acct_2",
        "keeps:pm_acct_2_more",
    ]
    assert len(kept["cus_acct_1"]) == 3


def test_no_page_shows_anything_of_another_customer_s(theirs: Theirs, me: Browser) -> None:
    for rule in theirs.routes("GET"):
        for path in theirs.paths(rule, theirs.own):
            text = me.get(path).text
            assert THEIR_DIGITS not in text, path
            assert "theirs" not in text, path


# --- forms from elsewhere --------------------------------------------------------------------------------------------


def _missing(_: Browser) -> str:
    return ""


def _guessed(_: Browser) -> str:
    return "x" * 43


def _of_somebody_else(me: Browser) -> str:
    eve = Browser(me.runtime, me.app).signed_in("acct_2")
    return eve.token()


def _of_an_older_session(me: Browser) -> str:
    token = me.token()
    me.signed_in("acct_1")
    return token


@pytest.mark.parametrize("forged", [_missing, _guessed, _of_somebody_else, _of_an_older_session])
def test_no_form_is_taken_that_is_not_of_this_session(
    theirs: Theirs, me: Browser, forged: Callable[[Browser], str]
) -> None:
    token, before = forged(me), things(theirs)
    theirs.shop.provider().asked.clear()
    walked = 0
    for rule in theirs.routes("POST"):
        for path in [*theirs.paths(rule, theirs.own), "/portal/sign-out"]:
            for options in ({"data": {"csrf_token": token}}, {"headers": {CSRF_HEADER: token}}):
                assert me.post(path, **options).status_code == 403, path
                walked += 1
    assert walked >= 10
    assert things(theirs) == before
    assert theirs.shop.provider().asked == []
    assert me.get("/portal/").status_code == 200


def test_an_address_alone_changes_nothing(theirs: Theirs, me: Browser) -> None:
    """What a link in a mail, an image or a prefetch can do in a browser that is signed in."""
    (setup,) = theirs.own["setup"]
    theirs.shop.methods.begin("acct_1", "keeps", form="f", wish=Wish(default=False))
    theirs.shop.provider().complete(setup, "pm_new")
    before = things(theirs)
    for rule in theirs.routes("GET"):
        for path in theirs.paths(rule, theirs.own):
            me.get(f"{path}?default=1&replaces=keeps:pm_acct_1_more&did=removed&csrf_token={me.token()}")
            me.get(path)
    assert things(theirs) == before


# --- names, frames, caches, ways out ---------------------------------------------------------------------------------


def answers(theirs: Theirs, me: Browser) -> Iterator[tuple[str, TestResponse]]:
    """Ask for every page, and for what is not there, over, or refused."""
    for rule in theirs.routes("GET"):
        for path in [*theirs.paths(rule, theirs.own), *theirs.paths(rule, theirs.foreign)]:
            yield path, me.get(path)
    for path in (f"{LIST}/begin/keeps", f"{LIST}/look/keeps/{theirs.own['setup'][0]}"):
        yield path, me.post(path, data={"csrf_token": me.token(), "form": "f"})
        yield path, me.post(path)
    yield "remove, in a part", me.get(f"{LIST}/keeps:pm_acct_1/remove", headers={"HX-Request": "true"})
    yield "a way in", me.get(me.link("acct_2"))
    entering = Browser(me.runtime, me.app)
    yield "going in", entering.go_in(entering.link("acct_2"))
    yield "signing out", entering.post("/portal/sign-out", data={"csrf_token": entering.token()})
    yield "signed out", Browser(me.runtime, me.app).get("/portal/")


def test_names_of_customers_plans_invoices_and_methods_are_text_on_every_page(theirs: Theirs) -> None:
    shop = theirs.shop
    shop.runtime.customers.upsert("acct_1", {"name": EVIL, "email": "<b>@x.test"})
    shop.provider().keep("cus_acct_1", "pm_evil", brand=EVIL, last4='"><b>', kind=EVIL)
    owe(shop.runtime, "acct_1", "evil", number=EVIL)
    plan = Subscription(
        ref=Ref("acme", "row_1"), external_id=EVIL, customer_id="acct_1", plan=EVIL, status=SubscriptionStatus.ACTIVE
    )  # fmt: skip
    with shop.runtime.db.begin() as tx:
        row = Row(customer_id="acct_1", status=SubscriptionStatus.ACTIVE, at=shop.clock.now())
        billing.subscriptions.put(tx, plan.ref, plan, row)
    me = Browser(shop.runtime, shop.app).signed_in("acct_1")
    theirs.own["ref"].append("keeps:pm_evil")
    escaped = 0
    for path, answer in answers(theirs, me):
        for part in ("<script>alert", "<img src=x", "<b>", ' onerror=alert(2)>{{ 7*7 }}"', "alert(2)>49"):
            assert part not in answer.text, path
        escaped += "&lt;script&gt;alert" in answer.text
    assert escaped >= 3


def test_every_answer_is_kept_from_frames_caches_and_sniffing(theirs: Theirs, me: Browser) -> None:
    for path, answer in answers(theirs, me):
        sent = answer.headers
        rules = dict(rule.split(" ", 1) for rule in sent["Content-Security-Policy"].split("; "))
        assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'", path
        assert "unsafe" not in sent["Content-Security-Policy"], path
        assert sent["X-Frame-Options"] == "DENY", path
        assert sent["Cache-Control"] == "no-store", path
        assert sent["X-Content-Type-Options"] == "nosniff", path
        assert sent["Referrer-Policy"] in ("same-origin", "no-referrer"), path


def test_no_address_leads_out(theirs: Theirs, me: Browser) -> None:
    out = "https://evil.test/"
    query = "&".join(
        f"{name}={out}" for name in ("next", "return_url", "url", "to", "replaces", "did", "page")
    )
    for rule in theirs.routes("GET"):
        for path in theirs.paths(rule, theirs.own):
            answer = me.get(f"{path}?{query}", headers={"X-Forwarded-Host": "evil.test", "Referer": out})
            place = urlsplit(answer.headers.get("Location", "/"))
            assert place.netloc in ("", "billing.test"), path
            assert not place.path.startswith("//"), path
            assert f'href="{out}' not in answer.text, path
    link = me.link("acct_1", return_url=None)
    entered = Browser(me.runtime, me.app).go_in(f"{link}?next={out}&return_url={out}")
    assert entered.headers["Location"] == "/portal/"


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def written() -> Iterator[StringIO]:
    """What a host that logs everything writes."""
    root = logging.getLogger()
    handlers, level, before = list(root.handlers), root.level, structlog.get_config()
    stream = StringIO()
    logs.configure("DEBUG", stream=stream, terminal=False)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


def test_the_client_secret_is_in_two_answers_to_the_page_s_script_and_nowhere_else(
    theirs: Theirs, me: Browser, written: StringIO
) -> None:
    begun = me.post(f"{LIST}/begin/keeps", data={"csrf_token": me.token(), "form": "new"}).get_json()
    setup = begun["after"].rpartition("/")[2]
    resumed = me.post(f"{LIST}/resume/keeps/{setup}", data={"csrf_token": me.token()}).get_json()
    assert begun["clientSecret"] == resumed["clientSecret"] == SECRET
    theirs.own["setup"].append(setup)
    for path, answer in [*answers(theirs, me), ("the way back", me.get(f"{begun['after']}?secret={SECRET}"))]:
        if path.startswith(f"{LIST}/begin/"):
            continue  # one of the two
        assert SECRET not in answer.text, path
        assert SECRET not in str(answer.headers), path
    theirs.shop.provider().complete(setup, "pm_new")
    assert SECRET not in me.get(begun["after"]).text
    theirs.shop.provider().down = True
    me.post(f"{LIST}/begin/keeps", data={"csrf_token": me.token(), "form": "other"})
    assert "payment_method.add" in written.getvalue()
    assert SECRET not in written.getvalue()


def test_no_link_cookie_or_form_token_is_in_the_log(theirs: Theirs, written: StringIO) -> None:
    me = Browser(theirs.shop.runtime, theirs.shop.app)
    link = me.link("acct_1")
    me.go_in(link)
    token = me.token()
    me.post(f"{LIST}/keeps:pm_acct_1_more/default", data={"csrf_token": token})
    me.post(f"{LIST}/keeps:pm_acct_1/default", data={"csrf_token": token[::-1]})
    me.go_in(link)
    said = written.getvalue()
    assert "portal.entered" in said
    assert "portal.foreign_form" in said
    for secret in (link.rpartition("/")[2], str(me.cookie), token):
        assert secret not in said


def test_settings_for_the_page_s_script_end_no_element(theirs: Theirs, me: Browser) -> None:
    text = me.get(f"{LIST}/new").text
    assert "</script>_public" not in text
    assert re.search(r"data-about=\"[^\"<>]*pk_", text)
