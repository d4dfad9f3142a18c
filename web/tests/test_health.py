from __future__ import annotations

from pathlib import Path

from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.stores import schema

from .conftest import make_runtime


def ready(runtime):
    return create_app(runtime, Wake(runtime)).test_client().get("/readyz")


def test_a_process_that_answers_is_healthy(api) -> None:
    assert api.client.get("/healthz").get_json() == {"status": "ok"}


def test_a_host_with_everything_is_ready(runtime) -> None:
    answer = ready(runtime)
    assert answer.status_code == 200
    assert answer.get_json() == {
        "status": "ok",
        "checks": {"database": {"ok": True}, "queue": {"ok": True}, "migrations": {"ok": True}},
        "troubles": [],
    }


def test_tables_that_are_not_there_make_it_unready_and_the_fix_is_named(tmp_path: Path) -> None:
    runtime = make_runtime(f"sqlite:///{tmp_path / 'b.sqlite3'}", "acme")
    answer = ready(runtime)
    assert answer.status_code == 503
    assert answer.get_json()["checks"]["database"] == {"ok": True}
    assert "billhook db upgrade" in answer.get_json()["checks"]["migrations"]["detail"]
    runtime.close()


def test_a_database_that_does_not_answer_makes_it_unready_and_not_unhealthy(tmp_path: Path) -> None:
    runtime = make_runtime(f"sqlite:///{tmp_path / 'missing' / 'b.sqlite3'}", "acme")
    client = create_app(runtime, Wake(runtime)).test_client()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    checks = answer.get_json()["checks"]
    assert (checks["database"]["ok"], checks["migrations"]["ok"], checks["queue"]["ok"]) == (
        False,
        False,
        True,
    )
    assert client.get("/healthz").status_code == 200
    runtime.close()


def test_a_queue_that_does_not_answer_makes_it_unready(runtime) -> None:
    class Silent:
        def ping(self) -> None:
            raise OSError("connection refused")

    runtime.broker.client = Silent()
    answer = ready(runtime)
    assert answer.status_code == 503
    assert answer.get_json()["checks"]["queue"]["ok"] is False


def test_a_plugin_that_is_out_is_shown_and_the_host_stays_ready(tmp_path: Path) -> None:
    runtime = make_runtime(f"sqlite:///{tmp_path / 'b.sqlite3'}", "acme,broken")
    schema.upgrade(runtime.db)
    answer = ready(runtime)
    assert answer.status_code == 200
    assert answer.get_json()["status"] == "degraded"
    assert answer.get_json()["troubles"] == [{"connection": "broken", "plugin": "broken"}]
    assert b"fire" not in answer.data, "why it is out is for operators"
    runtime.close()
