"""The OpenAPI document and the page that shows it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from jsonschema import Draft202012Validator

import billhook_web
from billhook_web.api.connections import OPERATIONS
from billhook_web.auth import SCOPES

PACKAGE = Path(billhook_web.__file__).parent
VENDOR = PACKAGE / "static" / "vendor" / "swagger-ui"


def operations(api):
    for path, item in api.document["paths"].items():
        for method, operation in item.items():
            if method in ("get", "put", "post", "delete", "patch"):
                yield method.upper(), path, operation


def test_every_route_of_the_api_is_documented(api) -> None:
    documented = {(method, path) for method, path, _ in operations(api)}
    served = set()
    for rule in api.app.url_map.iter_rules():
        if rule.rule.startswith("/api/v1/") and rule.endpoint != "api_reference.document":
            path = re.sub(r"<(?:[^:<>]+(?:\([^)]*\))?:)?([^<>]+)>", r"{\1}", rule.rule)
            served |= {(method, path) for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert served == documented
    assert len(served) >= 35


def test_every_operation_says_what_it_does_what_it_needs_and_how_it_fails(api) -> None:
    used = set()
    for method, path, operation in operations(api):
        where = f"{method} {path}"
        assert operation["summary"].endswith("."), where
        ((scope,),) = [each["bearer"] for each in operation["security"]]
        used.add(scope)
        assert {"401", "403", "default"} <= set(operation["responses"]), where
        assert any(status.startswith("2") for status in operation["responses"]), where
        names = set(re.findall(r"{(\w+)}", path))
        declared = [*operation.get("parameters", []), *api.document["paths"][path].get("parameters", [])]
        assert names == {each["name"] for each in declared if each["in"] == "path"}, where
    assert used == set(SCOPES)


def test_no_operation_is_open_to_callers_without_a_key(api) -> None:
    for method, path, _ in operations(api):
        url = (
            path.replace("{event_id}", "1")
            .replace("{effect_id}", "1")
            .replace("{endpoint_id}", "1")
            .replace("{version}", "1")
        )
        answer = api.client.open(re.sub(r"{\w+}", "acme:x", url), method=method)
        assert answer.status_code == 401, f"{method} {path}"


def test_the_document_is_openapi_3_1_and_its_schemas_are_schemas(api) -> None:
    document = api.document
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    refs = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))
    assert refs
    for ref in refs:
        found = document
        for part in ref.split("/"):
            found = found[part]
    assert "nullable" not in json.dumps(document), "that is 3.0"


def test_every_error_is_documented_as_a_problem(api) -> None:
    for response in api.document["components"]["responses"].values():
        assert set(response["content"]) == {"application/problem+json"}


def test_every_operation_has_an_id_of_its_own_and_a_known_tag(api) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(api)]
    assert len(ids) == len(set(ids))
    tags = {each["name"] for each in api.document["tags"]}
    assert all(set(operation["tags"]) <= tags for _, _, operation in operations(api))


def test_the_document_needs_no_key(api) -> None:
    answer = api.client.get("/api/v1/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")


def test_the_page_loads_only_our_own_files_and_runs_nothing_inline(api) -> None:
    answer = api.client.get("/api/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    html = answer.get_data(as_text=True)
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert "<style" not in html
    assert " style=" not in html
    loaded = re.findall(r'(?:src|href|data-document)="([^"]+)"', html)
    ours = [url for url in loaded if not url.startswith("data:")]
    assert len(ours) >= 4
    for url in ours:
        assert url.startswith("/")
        with api.client.get(url) as loaded_file:
            assert loaded_file.status_code == 200, url


def test_vendored_files_are_those_that_were_published() -> None:
    listed = dict(reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == {path.name for path in VENDOR.iterdir()} - {"SHA256SUMS", "VERSION"}
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
    assert re.fullmatch(r"swagger-ui-dist \d+\.\d+\.\d+\n", (VENDOR / "VERSION").read_text())
    assert "Apache License" in (VENDOR / "LICENSE").read_text()


def test_every_operation_of_the_contract_has_a_name() -> None:
    assert {"check", "refunds", "saved_methods", "credit_notes", "invoice_pdf", "checkout_status"} <= set(
        OPERATIONS
    )
