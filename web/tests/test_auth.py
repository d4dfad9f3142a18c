from __future__ import annotations

from pathlib import Path

import pytest

from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.auth import PREFIX, SCOPES, create_key, digest_of, ensure_bootstrap_key, revoke_key
from billhook_web.db import Database
from billhook_web.stores import accounts, schema

from .conftest import BOOTSTRAP_KEY, START, Api, make_runtime


def ask(api: Api, header: str | None):
    headers = {} if header is None else {"Authorization": header}
    return api.client.get("/api/v1/customers", headers=headers)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic YTpi", "bh_live_x"])
def test_without_a_bearer_key_the_answer_is_401_and_says_what_to_send(api, header) -> None:
    answer = ask(api, header)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "Authorization: Bearer" in answer.get_json(force=True)["detail"]


def test_an_unknown_key_is_401_invalid_token_and_not_quoted(api) -> None:
    answer = ask(api, "Bearer bh_live_nobody")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"].replace(
        "error=invalid_token", 'error="invalid_token"'
    )
    assert b"nobody" not in answer.data


@pytest.mark.parametrize("header", [f"Bearer {BOOTSTRAP_KEY}", f"bearer {BOOTSTRAP_KEY}"])
def test_the_key_of_the_environment_works_without_any_set_up(api, header) -> None:
    assert ask(api, header).status_code == 200


def test_a_key_without_the_scope_is_403_and_told_which(api) -> None:
    problem = api.with_scopes("billing:read").refused("GET", "/customers", 403)
    assert "'customers:read'" in problem["detail"]


def test_a_key_with_the_scope_may(api) -> None:
    caller = api.with_scopes("customers:read")
    assert caller.get("/customers")["data"] == []
    assert "'customers:write'" in caller.refused("PUT", "/customers/a", 403, body={})["detail"]


def test_a_revoked_key_is_401(api) -> None:
    caller = api.with_scopes("customers:read")
    with api.runtime.db.begin() as tx:
        (key,) = [each for each in accounts.list_api_keys(tx) if each.last4 == caller.key[-4:]]
        assert accounts.revoke_api_key(tx, key.id, now=START)
    caller.refused("GET", "/customers", 401)


def test_a_key_is_256_random_bits_of_which_only_a_digest_is_stored(api, runtime) -> None:
    key = create_key(runtime.db, name="shop", scopes=("customers:read",), now=START)
    assert key.startswith(PREFIX)
    assert len(key) >= len(PREFIX) + 43
    assert key != create_key(runtime.db, name="shop", scopes=("customers:read",), now=START)
    with runtime.db.read() as tx:
        found = accounts.find_api_key(tx, digest_of(key))
        assert found is not None
        assert (found.name, found.last4, found.scopes) == ("shop", key[-4:], ("customers:read",))
        assert accounts.find_api_key(tx, key) is None


@pytest.mark.parametrize("scopes", [(), ("customers:delete",), ("customers:read", "nonsense")])
def test_a_key_needs_scopes_that_exist(runtime, scopes) -> None:
    with pytest.raises(ValueError, match="choose from customers:read"):
        create_key(runtime.db, name="x", scopes=scopes, now=START)


def test_each_scope_says_what_it_allows() -> None:
    assert all(about and not about.endswith(".") for about in SCOPES.values())


def test_a_key_that_was_replaced_in_the_environment_ends_at_start_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'b.sqlite3'}"
    first = make_runtime(url, "")
    schema.upgrade(first.db)
    ensure_bootstrap_key(first)
    ensure_bootstrap_key(first)
    second = make_runtime(url, "", BILLHOOK_API_KEY="another-key-0123456789")
    ensure_bootstrap_key(second)
    client = create_app(second, Wake(second)).test_client()

    def status(key: str) -> int:
        return client.get("/api/v1/customers", headers={"Authorization": f"Bearer {key}"}).status_code

    assert (status(BOOTSTRAP_KEY), status("another-key-0123456789")) == (401, 200)
    with second.db.read() as tx:
        assert [each.revoked_at is None for each in accounts.list_api_keys(tx)] == [False, True]
    first.close()
    second.close()


def test_several_keys_in_the_environment_are_good_while_one_is_rotated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'b.sqlite3'}"
    new = "another-key-0123456789"
    first = make_runtime(url, "", BILLHOOK_API_KEY=f"{new}, {BOOTSTRAP_KEY}")
    schema.upgrade(first.db)
    client = create_app(first, Wake(first)).test_client()

    def status(key: str) -> int:
        return client.get("/api/v1/customers", headers={"Authorization": f"Bearer {key}"}).status_code

    assert (status(BOOTSTRAP_KEY), status(new), status(f"{new}, {BOOTSTRAP_KEY}")) == (200, 200, 401)
    second = make_runtime(url, "", BILLHOOK_API_KEY=new)
    ensure_bootstrap_key(second)
    assert (status(BOOTSTRAP_KEY), status(new)) == (401, 200)
    first.close()
    second.close()


def test_a_key_made_or_revoked_in_another_process_counts_at_once(api, runtime) -> None:
    other = Database(runtime.db.url.render_as_string(hide_password=False))
    key = create_key(other, name="shop", scopes=("*",), now=START)
    assert ask(api, f"Bearer {key}").status_code == 200
    with other.read() as tx:
        (found,) = [each for each in accounts.list_api_keys(tx) if each.name == "shop"]
    assert revoke_key(other, found.id, now=START, actor="cli:ann")
    assert ask(api, f"Bearer {key}").status_code == 401
    other.close()


def test_a_bootstrap_key_that_was_revoked_stays_so(api, runtime) -> None:
    api.get("/customers")
    with runtime.db.begin() as tx:
        (key,) = accounts.list_api_keys(tx)
        accounts.revoke_api_key(tx, key.id, now=START)
    api.refused("GET", "/customers", 401)
