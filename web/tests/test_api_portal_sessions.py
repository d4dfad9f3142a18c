"""Links into the portal, asked for by an app: for known customers, to known pages, back to known places only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from web.tests.portal_visits import Browser, make_host, register

from billhook_web.runtime import Runtime
from billhook_web.stores.tables import audit


@pytest.fixture
def runtime(tmp_path: Path, empty_database: Path) -> Iterator[Runtime]:
    made = make_host(
        tmp_path, empty_database, BILLHOOK_PORTAL_RETURN_ORIGINS="https://app.test,http://localhost:3000"
    )
    register(made, "ada/1", name="Ada")
    yield made
    made.close()


def test_a_link_opens_the_portal_for_the_customer(api, runtime: Runtime, app) -> None:
    wanted = {"customer": "ada/1", "return_url": "https://app.test/settings?x=1", "page": "overview"}
    said = api.ok("POST", "/portal-sessions", body=wanted, status=201)
    assert said["url"].startswith("https://billing.test/portal/enter/")
    assert (said["customer"], said["page"]) == ("ada/1", "overview")
    assert said["return_url"] == wanted["return_url"]
    assert said["expires_at"] == "2026-09-01T09:05:00Z"
    browser = Browser(runtime, app)
    assert browser.go_in(said["url"].removeprefix("https://billing.test")).location == "/portal/"
    assert "https://app.test/settings?x=1" in browser.get("/portal/").text


def test_page_and_way_back_may_be_left_out(api) -> None:
    said = api.ok("POST", "/portal-sessions", body={"customer": "ada/1"}, status=201)
    assert (said["page"], said["return_url"]) == ("overview", None)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/",
        "https://app.test.evil.test/",
        "https://app.test@evil.test/",
        "https://app.test\\@evil.test/",
        "http://app.test/",
        "https://app.test:8443/",
        "//app.test/",
        "/settings",
        "javascript:alert(1)//https://app.test",
    ],
)
def test_the_portal_leads_back_to_named_origins_only(api, url: str) -> None:
    problem = api.refused("POST", "/portal-sessions", 422, body={"customer": "ada/1", "return_url": url})
    error = problem["errors"][0]
    assert error["field"] == "return_url"
    assert error["allowed"] == ["https://app.test", "http://localhost:3000"]


def test_an_unknown_customer_is_named(api) -> None:
    problem = api.refused("POST", "/portal-sessions", 404, body={"customer": "nobody"})
    assert problem["field"] == "customer"


@pytest.mark.parametrize(
    "body", [{}, {"customer": ""}, {"customer": "ada/1", "page": "admin"}, {"customer": "ada/1", "url": "x"}]
)
def test_what_cannot_be_meant_is_refused(api, body) -> None:
    assert api.refused("POST", "/portal-sessions", 422, body=body)["errors"]


def test_a_key_needs_the_scope(api) -> None:
    body = {"customer": "ada/1"}
    assert api.with_scopes("customers:write").refused("POST", "/portal-sessions", 403, body=body)
    assert api.with_scopes("portal:write").ok("POST", "/portal-sessions", body=body, status=201)


def test_who_let_somebody_in_is_in_the_audit_without_the_link(api, runtime: Runtime) -> None:
    said = api.ok("POST", "/portal-sessions", body={"customer": "ada/1"}, status=201)
    with runtime.db.read() as tx:
        row = tx.execute(select(audit).where(audit.c.action == "portal.link")).one()
    assert row.subject == "ada/1"
    assert said["url"].rpartition("/")[2] not in str(row)
