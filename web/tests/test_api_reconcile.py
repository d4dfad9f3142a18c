"""What reconciling found, as the API tells it."""

from __future__ import annotations

from datetime import timedelta

from billhook.model import Ref
from billhook_web.stores import reconcile
from billhook_web.stores.reconcile import Gap, RunStatus

from .conftest import START, Api

HOUR = timedelta(hours=1)


def a_run(api: Api, connection: str, *, gaps: int, done: bool = True) -> int:
    """Store a run that found so many gaps."""
    found = [
        Gap(kind="invoice", ref=Ref(connection, f"i{number}"), changed=("balance", "paid"), at=START)
        for number in range(gaps)
    ]
    with api.runtime.db.begin() as tx:
        run = reconcile.begin(tx, connection, since=None, now=START, lease=HOUR)
        assert run is not None
        kept = reconcile.advance(
            tx, run, cursor="2", seen=9, facts=4, found=found, now=START + HOUR, lease=HOUR
        )
        assert kept
        if done:
            reconcile.finish(tx, run, status=RunStatus.DONE, now=START + 2 * HOUR)
    return run.id


def test_gaps_are_listed_page_by_page_and_narrowed_down(api: Api) -> None:
    first = a_run(api, "acme", gaps=3)
    a_run(api, "fakepay", gaps=1)
    page = api.get("/gaps?connection=acme&limit=2")
    assert [each["ref"] for each in page["data"]] == ["acme:i2", "acme:i1"]
    assert page["data"][0] == {
        "id": 3,
        "run_id": first,
        "connection": "acme",
        "kind": "invoice",
        "ref": "acme:i2",
        "changed": ["balance", "paid"],
        "at": "2026-09-01T09:00:00Z",
        "found_at": "2026-09-01T10:00:00Z",
    }
    rest = api.get(f"/gaps?connection=acme&limit=2&cursor={page['next_cursor']}")
    assert ([each["ref"] for each in rest["data"]], rest["next_cursor"]) == (["acme:i0"], None)
    assert len(api.get(f"/gaps?run={first}")["data"]) == 3
    assert api.get("/gaps?kind=payment")["data"] == []
    with api.runtime.db.read() as tx:
        assert reconcile.count_gaps(tx) == {"acme": 3, "fakepay": 1}


def test_runs_are_listed_and_narrowed_down(api: Api) -> None:
    a_run(api, "acme", gaps=1)
    open_run = a_run(api, "acme", gaps=0, done=False)
    (running,) = api.get("/reconcile-runs?status=running")["data"]
    assert (running["id"], running["finished_at"], running["gap_count"]) == (open_run, None, 0)
    (done,) = api.get("/reconcile-runs?status=done&connection=acme")["data"]
    assert (done["seen_count"], done["new_facts"], done["gap_count"]) == (9, 4, 1)
    assert done["since"] is None


def test_a_run_that_is_open_is_the_only_one_and_goes_on_when_its_lease_ended(api: Api) -> None:
    a_run(api, "acme", gaps=0, done=False)
    with api.runtime.db.begin() as tx:
        assert reconcile.begin(tx, "acme", since=None, now=START, lease=HOUR) is None
        assert reconcile.take(tx, "acme", now=START + HOUR, lease=HOUR) is None
        taken = reconcile.take(tx, "acme", now=START + 2 * HOUR, lease=HOUR)
        assert taken is not None
        assert (taken.takes, taken.cursor) == (2, "2")
        assert reconcile.marked(tx, "acme") is None
