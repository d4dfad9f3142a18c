"""What operators do about access over HTTP: policies, exemptions, and looking before leaping."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest

from billhook.events import InvoiceFinalized

from .conftest import START
from .test_api_billing import finalized, started, succeeded

STRICT = {"rules": [{"state": "late", "when": {"overdue_days": 1}, "access": "none", "block_changes": True}]}
EXEMPT = {"rules": [{**STRICT["rules"][0], "when": {"overdue_days": 1, "lacks_tag": "vip"}}]}
REASON = {"reason": "an old customer"}


@pytest.fixture
def late(api):
    """A customer who is two days late."""
    api.ok("PUT", "/customers/acct_1", body={}, status=201)
    api.apply(started("row_1", "s1"), overdue("i1"))
    return api


def overdue(name: str, *, customer: str = "acct_1", **more: Any) -> InvoiceFinalized:
    day = (START - timedelta(days=2)).date()
    return finalized(name, customer_id=customer, issued_on=day, due_on=day, **more)


def create(api, name: str, policy: dict[str, Any], status: int = 201) -> dict[str, Any]:
    return api.ok("POST", "/access/policies", body={"name": name, "policy": policy}, status=status)


def activate(api, name: str, *, scope: str = "default", id: str | None = None, **more: Any) -> dict[str, Any]:
    body = {"name": name, "scope": scope, "id": id, **more}
    return api.ok("POST", "/access/policies/activate", body={k: v for k, v in body.items() if v is not None})


def access(api, customer: str = "acct_1") -> dict[str, Any]:
    return api.get(f"/customers/{customer}/access")


# --- policies


def test_a_policy_is_kept_once_and_never_changes(api) -> None:
    made = create(api, "strict", STRICT)
    assert (made["version"], made["policy"]["rules"][0]["cancel"]) == (1, "none")
    assert create(api, "strict", STRICT, status=200)["version"] == 1
    assert create(api, "strict", EXEMPT)["version"] == 2
    assert api.get("/access/policies/strict")["versions"] == [2, 1]
    assert api.get("/access/policies/strict/versions/1")["policy"] == made["policy"]
    assert [each["version"] for each in api.get("/access/policies")["data"]] == [2]
    api.refused("GET", "/access/policies/strict/versions/3", 404)
    api.refused("GET", "/access/policies/none", 404)


@pytest.mark.parametrize("name", ["validate", "rules", "Strict", "a b", "", "x" * 65])
def test_a_name_that_cannot_be_an_address_is_refused(api, name: str) -> None:
    problem = api.refused("POST", "/access/policies", 422, body={"name": name, "policy": STRICT})
    assert {each["field"] for each in problem["errors"]} == {"name"}


def test_a_wrong_policy_is_refused_with_every_problem_wherever_it_is_sent(api) -> None:
    wrong = {"rules": [{"state": "late", "when": {"overdue_day": 1}}], "rolup": "worst"}
    for path, more in (("", {"name": "x"}), ("/validate", {}), ("/preview", {})):
        problem = api.refused("POST", f"/access/policies{path}", 422, body={"policy": wrong, **more})
        found = {each["field"]: each.get("did_you_mean") for each in problem["errors"]}
        assert found == {"policy.rules[0].when.overdue_day": "overdue_days", "policy.rolup": "rollup"}


def test_a_currency_nobody_was_billed_in_and_a_shadowed_rule_are_warned_of(late) -> None:
    rules = [
        *STRICT["rules"],
        {"state": "x", "when": {"overdue_days": 2, "unpaid_balance": {"EUR": 1, "JPY": 1}}},
    ]
    told = late.ok("POST", "/access/policies/validate", body={"policy": {"rules": rules}})
    assert [each["field"] for each in told["warnings"]] == [
        "policy.rules[1]",
        "policy.rules[1].when.unpaid_balance.JPY",
    ]


def test_what_is_activated_counts_at_once_and_the_same_again_changes_nothing(late) -> None:
    before = access(late)
    assert before["standing"] == "clear"
    create(late, "strict", STRICT)
    late.runtime.clock.advance(timedelta(seconds=1))
    assert activate(late, "strict")["changed"] is True
    after = access(late)
    assert (after["standing"], after["access"], after["version"]) == ("late", "none", before["version"] + 1)
    late.runtime.clock.advance(timedelta(seconds=1))
    assert activate(late, "strict", version=1)["changed"] is False
    assert access(late)["version"] == after["version"]


def test_a_roll_back_lets_count_what_counted_before(late) -> None:
    late.refused("POST", "/access/policies/rollback", 409, body={"scope": "default"})
    create(late, "mild", {"rules": []})
    create(late, "strict", STRICT)
    for name in ("mild", "strict"):
        late.runtime.clock.advance(timedelta(seconds=1))
        activate(late, name)
    assert access(late)["access"] == "none"
    late.runtime.clock.advance(timedelta(seconds=1))
    back = late.ok("POST", "/access/policies/rollback", body={"scope": "default", "reason": "too strict"})
    assert (back["assignment"]["policy"], back["changed"]) == ("mild", True)
    assert access(late)["access"] == "full"
    past = late.get("/access/policies/assignments?scope=default")["data"]
    assert [(each["policy"], each["reason"]) for each in past] == [
        ("mild", "too strict"), ("strict", None), ("mild", None),
    ]  # fmt: skip


def test_a_customer_can_have_another_policy_until_it_is_withdrawn(late) -> None:
    create(late, "strict", STRICT)
    create(late, "mild", {"rules": []})
    late.runtime.clock.advance(timedelta(seconds=1))
    activate(late, "strict")
    activate(late, "mild", scope="customer", id="acct_1")
    assert access(late)["access"] == "full"
    late.runtime.clock.advance(timedelta(seconds=1))
    gone = late.ok("DELETE", "/access/policies/assignments?scope=customer&id=acct_1")
    assert (gone["changed"], gone["assignment"]["policy"]) == (True, None)
    assert access(late)["access"] == "none"


def test_a_subscription_can_have_another_policy(late) -> None:
    create(late, "strict", STRICT)
    late.runtime.clock.advance(timedelta(seconds=1))
    activate(late, "strict", scope="subscription", id="acme:s1")
    told = access(late)
    assert (told["standing"], told["subscriptions"]["s1"]["access"]) == ("clear", "none")
    line = late.get("/subscriptions/acme:s1/access")
    assert (line["access"], line["state"], list(line["subscriptions"])) == ("none", "late", ["s1"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "none", "scope": "default"}, 404),
        ({"name": "strict", "version": 9, "scope": "default"}, 404),
        ({"name": "strict", "scope": "customer", "id": "nobody"}, 404),
        ({"name": "strict", "scope": "customer"}, 422),
        ({"name": "strict", "scope": "default", "id": "acct_1"}, 422),
        ({"name": "strict", "scope": "everyone"}, 422),
    ],
)
def test_what_cannot_be_activated_is_refused(late, body: dict[str, Any], status: int) -> None:
    create(late, "strict", STRICT)
    counts = "/access/policies/assignments?scope=default"
    before = late.get(counts), late.get("/customers/acct_1/access")
    problem = late.refused("POST", "/access/policies/activate", status, body=body)
    assert problem["status"] == status
    assert (late.get(counts), late.get("/customers/acct_1/access")) == before


def test_who_did_what_to_policies_is_in_the_audit(late) -> None:
    create(late, "strict", STRICT)
    activate(late, "strict", reason="agreed")
    entries = late.get("/audit")["data"]
    assert [each["action"] for each in entries[:2]] == ["access_policy.activate", "access_policy.create"]
    assert entries[0]["detail"] == {"policy": "strict", "version": 1, "reason": "agreed"}


def test_plans_cannot_be_changed_while_the_standing_forbids_it(late, engine) -> None:
    create(late, "strict", STRICT)
    activate(late, "strict")
    new = {"customer": "acct_1", "plan": "team", "id": "s2", "connection": "acme"}
    for path, body in (("/subscriptions", new), ("/subscriptions/acme:s1/change-plan", {"plan": "solo"})):
        problem = late.refused("POST", path, 409, body=body)
        assert problem["code"] == "changes_blocked"
        assert "2 days overdue" in problem["detail"]
    assert engine.asked == []
    late.ok("POST", "/subscriptions/acme:s1/cancel", body={"when": "now"})


# --- exemptions


def test_a_tag_exempts_at_once_and_stops_exempting_at_once(late) -> None:
    create(late, "strict", EXEMPT)
    activate(late, "strict")
    assert access(late)["access"] == "none"
    late.runtime.clock.advance(timedelta(seconds=1))
    tag = late.ok("PUT", "/customers/acct_1/tags/vip", body=REASON)
    assert (tag["tag"], tag["reason"]) == ("vip", "an old customer")
    assert tag["by"].startswith("key:")
    assert access(late)["access"] == "full"
    assert late.get("/customers/acct_1/tags")["tags"] == [tag]
    late.runtime.clock.advance(timedelta(seconds=1))
    assert late.ok("PUT", "/customers/acct_1/tags/vip", body={"reason": "again"}) == tag
    assert late.answer("DELETE", "/customers/acct_1/tags/vip", body=REASON).status_code == 204
    assert late.answer("DELETE", "/customers/acct_1/tags/vip", body=REASON).status_code == 204
    assert access(late)["access"] == "none"
    assert late.get("/customers/acct_1/tags")["tags"] == []
    actions = [each["action"] for each in late.get("/audit")["data"]]
    assert (actions.count("customer.tag"), actions.count("customer.untag")) == (1, 1)


def test_a_customer_for_whom_another_pays_follows_their_standing(late) -> None:
    create(late, "strict", STRICT)
    activate(late, "strict")
    late.ok("PUT", "/customers/child", body={}, status=201)
    late.runtime.clock.advance(timedelta(seconds=1))
    payer = late.ok("PUT", "/customers/child/payer", body={"pays": "acct_1", **REASON})
    assert payer["pays"] == "acct_1"
    assert access(late, "child")["standing"] == "late"
    circle = late.refused("PUT", "/customers/acct_1/payer", 422, body={"pays": "child", **REASON})
    assert circle["errors"][0]["field"] == "pays"
    late.refused("PUT", "/customers/child/payer", 422, body={"pays": "nobody", **REASON})
    late.runtime.clock.advance(timedelta(seconds=1))
    assert late.ok("PUT", "/customers/child/payer", body={"pays": None, **REASON})["pays"] is None
    assert access(late, "child")["standing"] == "clear"


def test_a_debt_given_up_counts_no_longer_until_it_is_asked_for_again(late) -> None:
    create(late, "strict", STRICT)
    activate(late, "strict")
    late.runtime.clock.advance(timedelta(seconds=1))
    given_up = late.ok("POST", "/invoices/acme:i1/write-off", body=REASON)
    assert (given_up["written_off"], given_up["reason"]) == (True, "an old customer")
    assert late.ok("POST", "/invoices/acme:i1/write-off", body={"reason": "again"}) == given_up
    assert (access(late)["access"], access(late)["unpaid"]) == ("full", {})
    late.runtime.clock.advance(timedelta(seconds=1))
    assert late.ok("POST", "/invoices/acme:i1/reinstate", body=REASON)["written_off"] is False
    assert access(late)["reasons"][0]["days"] == 2
    late.refused("POST", "/invoices/acme:i9/write-off", 404, body=REASON)
    late.apply(succeeded("p1", "i1", at=START))
    late.refused("POST", "/invoices/acme:i1/write-off", 409, body=REASON)


def test_an_exemption_says_why_and_needs_the_scope(late) -> None:
    problem = late.refused("PUT", "/customers/acct_1/tags/vip", 422, body={})
    assert problem["errors"][0]["field"] == "reason"
    late.with_scopes("access:read").refused("PUT", "/customers/acct_1/tags/vip", 403, body=REASON)
    late.refused("PUT", "/customers/nobody/tags/vip", 404, body=REASON)
    late.refused("PUT", "/customers/acct_1/tags/%00", 422, body=REASON)
    late.refused("GET", "/customers/nobody/payer", 404)


# --- history, other instants, what if


def test_the_history_has_every_change_with_the_facts_behind_it(late) -> None:
    create(late, "strict", EXEMPT)
    late.runtime.clock.advance(timedelta(seconds=1))
    activate(late, "strict")
    access(late)
    late.runtime.clock.advance(timedelta(seconds=1))
    late.ok("PUT", "/customers/acct_1/tags/vip", body=REASON)
    whole = late.get("/customers/acct_1/access/history")["data"]
    assert [(each["cause"], each["decision"]["access"]) for each in whole] == [
        ("fact", "full"), ("policy", "none"), ("fact", "full"),
    ]  # fmt: skip
    (fact,) = whole[0]["facts"]
    assert (fact["type"], fact["ref"], fact["says"]["tag"]) == ("customer.tagged", "billhook:acct_1", "vip")
    assert whole[0]["recorded_at"] == "2026-09-01T09:00:02Z"
    first = late.get("/customers/acct_1/access/history?limit=2")
    rest = late.get(f"/customers/acct_1/access/history?limit=2&cursor={first['next_cursor']}")
    assert [*first["data"], *rest["data"]] == whole
    assert rest["next_cursor"] is None
    (then,) = late.get("/customers/acct_1/access/history?at=2026-09-01T09:00:01Z")["data"]
    assert then == whole[1]


def test_another_instant_is_answered_by_the_policy_that_counted_then(late) -> None:
    access(late)
    create(late, "strict", STRICT)
    late.runtime.clock.advance(timedelta(hours=1))
    activate(late, "strict")
    now = access(late)
    path = "/customers/acct_1/access?at="
    assert late.get(f"{path}2026-09-01T09:30:00Z")["access"] == "full"
    assert late.get(f"{path}2026-09-01T10:00:00Z")["access"] == "none"
    ahead = late.get(f"{path}2026-09-11T10:00:00Z")
    assert (ahead["reasons"][0]["days"], ahead["version"]) == (12, None)
    assert access(late)["version"] == now["version"]
    late.refused("GET", f"{path}2026-09-11&lease=1", 422)
    assert late.get("/subscriptions/acme:s1/access?at=2026-09-01T09:30:00Z")["access"] == "full"


def test_what_if_adds_facts_to_a_real_customer_and_keeps_nothing(late) -> None:
    create(late, "strict", STRICT)
    activate(late, "strict")
    paid = {
        "at": "2026-09-01T09:10:00Z", "type": "payment.succeeded", "payment": "p", "invoice": "acme:i1",
        "amount": 12000, "currency": "EUR",
    }  # fmt: skip
    asked = {"facts": [paid], "at": ["2026-09-01T09:05:00Z", "2026-09-01T09:10:00Z"]}
    told = late.ok("POST", "/customers/acct_1/access/what-if", body=asked)["decisions"]
    assert [each["access"] for each in told] == ["none", "full"]
    other = {"facts": [], "at": ["2026-09-01T09:05:00Z"], "policy": {"rules": []}}
    assert late.ok("POST", "/customers/acct_1/access/what-if", body=other)["decisions"][0]["access"] == "full"
    assert access(late)["access"] == "none"
    late.refused("POST", "/customers/nobody/access/what-if", 404, body=asked)
    wrong = late.refused(
        "POST", "/customers/acct_1/access/what-if", 422, body={"facts": [{}], "at": [1], "x": 1}
    )
    assert {each["field"] for each in wrong["errors"]} == {"facts[0].type", "at[0]", "x"}


def test_many_customers_are_asked_at_once(late) -> None:
    late.ok("PUT", "/customers/b", body={}, status=201)
    told = late.ok("POST", "/access/query", body={"customers": ["b", "nobody", "acct_1", "b"]})
    assert [each["customer"] for each in told["decisions"]] == ["b", "acct_1"]
    assert told["decisions"][1] == access(late)
    assert told["unknown"] == ["nobody"]
    many = [f"c{number}" for number in range(1001)]
    assert late.refused("POST", "/access/query", 413, body={"customers": many})["limit"] == 1000
    assert len(late.ok("POST", "/access/query", body={"customers": many[:1000]})["unknown"]) == 1000


# --- previews


@pytest.fixture
def several(late):
    """Five customers: two are late, one of them pays; one will be late tomorrow."""
    late.apply(overdue("i2", customer="acct_2"), overdue("i3", customer="=acct_3"))
    late.apply(finalized("i4", customer_id="acct_4", due_on=START.date(), issued_on=START.date()))
    late.ok("PUT", "/customers/acct_5", body={}, status=201)
    access(late, "acct_5")
    return late


def lines(api, **body: Any) -> list[dict[str, Any]]:
    answer = api.answer("POST", "/access/policies/preview", body={"policy": STRICT, **body})
    assert (answer.status_code, answer.mimetype) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.get_data(as_text=True).splitlines()]


def test_a_preview_says_who_changes_when_and_what_is_at_stake(several) -> None:
    told = lines(several)
    changes = {each["customer"]: each for each in told if each["type"] == "change"}
    assert set(changes) == {"acct_1", "acct_2", "=acct_3", "acct_4"}
    assert changes["acct_2"]["from"]["access"] == "full"
    assert (changes["acct_2"]["to"]["state"], changes["acct_2"]["now"]) == ("late", True)
    assert changes["acct_2"]["unpaid"] == {"EUR": 12000}
    assert (changes["acct_4"]["now"], changes["acct_4"]["at"]) == (False, "2026-09-02T00:00:00Z")
    assert [each["done"] for each in told if each["type"] == "progress"] == [5]
    summary = told[-1]
    assert (summary["type"], summary["looked_at"], summary["now"], summary["later"]) == ("summary", 5, 3, 1)
    assert summary["at_stake"] == {"EUR": 48000}
    assert access(several)["access"] == "full", "nothing was stored"


def test_a_preview_can_be_of_some_customers_and_of_another_instant(several) -> None:
    told = lines(several, customers=["acct_4", "acct_5", "nobody"], at="2026-09-05")
    assert [(each["customer"], each["now"]) for each in told if each["type"] == "change"] == [
        ("acct_4", True)
    ]


def test_a_preview_comes_as_csv_and_as_one_document(several) -> None:
    path, body = "/access/policies/preview", {"policy": STRICT}
    answer = several.answer("POST", path, body=body, headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert [row["customer"] for row in rows] == ["'=acct_3", "acct_1", "acct_2", "acct_4"]
    assert (rows[1]["from_access"], rows[1]["to"], rows[1]["unpaid"]) == ("full", "late", "12000 EUR")
    document = several.answer("POST", path, body=body, headers={"Accept": "application/json"}).get_json()
    assert len(document["data"]) == 4
    assert (document["next_cursor"], document["summary"]["looked_at"]) == (None, 5)


def test_a_third_preview_at_a_time_is_refused_and_one_that_ends_makes_room(several) -> None:
    from billhook.access import parse_policy

    previewing = several.runtime.previewing
    first, second = (previewing.begin(parse_policy(STRICT)) for _ in range(2))
    answer = several.answer("POST", "/access/policies/preview", body={"policy": STRICT})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    next(iter(first.rows()))
    first.close()
    first.close()
    assert lines(several)[-1]["type"] == "summary"
    assert lines(several)[-1]["type"] == "summary"
    second.close()
