"""Whatever is sent, the API answers with a refusal, never with an error of its own."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .test_api_billing import finalized, started

TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["acme:i1", "acme:row_1", "acme:", ":", "\x00", "9" * 30, "-1", "%", "null", "2026-09-01", "é" * 300]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    "name email address tax_id currency locale timezone customer plan id connection when status limit cursor since until "
    "invoice search sync type kind subject include".split()
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(data=st.data())
def test_nothing_that_is_sent_breaks_a_route(api, data) -> None:
    api.apply(finalized("i1"), started("row_1", "s1"))
    routes = sorted(
        (method, path)
        for path, item in api.document["paths"].items()
        for method in item
        if method in ("get", "put", "post")
    )
    method, path = data.draw(st.sampled_from(routes))
    for name in ("customer_id", "ref", "name"):
        path = path.replace(f"{{{name}}}", quote(data.draw(TEXTS).encode("utf-8", "replace"), safe=""))
    for name in ("event_id", "effect_id", "version"):
        path = path.replace(f"{{{name}}}", str(data.draw(st.integers(0, 2**70))))
    query = data.draw(st.dictionaries(FIELDS, TEXTS, max_size=3))
    body = data.draw(st.dictionaries(FIELDS, JSON, max_size=4) | JSON)
    headers = {"Authorization": f"Bearer {api.key}"}
    sent = {"json": body} if method != "get" else {}
    answer = api.client.open(path, method=method, headers=headers, query_string=query, **sent)
    assert answer.status_code < 500, answer.get_data(as_text=True)
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 40_000, b'{"name": 1e999}', b"NaN", b"1" * 6000])
def test_json_that_is_meant_to_break_a_parser_is_refused(api, body: bytes) -> None:
    answer = api.answer("PUT", "/customers/a", data=body, content_type="application/json")
    assert answer.status_code in (400, 422)
