"""``billhook sandbox PLUGIN --webhook-url URL``: the stand-in knows the URL as an endpoint, so that checks find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from billhook.clock import SystemClock
from billhook.config import prefix_of
from billhook.http import ApiClient
from billhook.plugins import load_plugins
from billhook.provider import Severity
from billhook_web.doctor.providers import findings_of
from billhook_web.runtime import build_runtime
from billhook_web.settings import read_configuration
from billhook_web.stores import schema


@pytest.mark.parametrize("plugin", ["dodo", "lago", "stripe"])
def test_a_sandbox_that_was_given_our_url_has_it_as_an_endpoint(plugin: str, tmp_path: Path) -> None:
    base_url = f"http://{plugin}.test"
    url = f"http://127.0.0.1:9/webhooks/{plugin}"
    made = load_plugins({plugin}).sandbox_factory(plugin)(clock=SystemClock(), webhook_url=url, settings={})
    assert made is not None
    env = {
        "BILLHOOK_CONNECTIONS": plugin,
        "BILLHOOK_DATABASE_URL": f"sqlite:///{tmp_path / 'billhook.sqlite3'}",
        **{
            f"{prefix_of(plugin)}_{name.upper()}": value for name, value in made.environment(base_url).items()
        },
    }

    def http(**options: Any) -> ApiClient:
        return ApiClient(
            app=made.wsgi, **{name: value for name, value in options.items() if value is not None}
        )

    runtime = build_runtime(read_configuration(env), http=http)
    try:
        schema.upgrade(runtime.db)
        found = list(findings_of(runtime.connections.all()[0]))
    finally:
        runtime.close()
    about_endpoint = [each.severity for each in found if "webhook" in each.what.lower()]
    assert about_endpoint == [Severity.OK]
    assert Severity.ERROR not in {each.severity for each in found}
