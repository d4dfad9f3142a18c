"""A provider nobody here has heard of, installed as a package, collects an invoice with no edit in core or web."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from billhook.model import PaymentStatus
from billhook.signing import HmacSha256
from tests.flow.flow import Backend, Flow

SECRET = "acme-secret-0123456789"
SOURCE = Path(__file__).parent / "throwaway" / "billhook_acmepay"


class AcmeServer:
    """The provider's API: charges what it is told, once a key."""

    def __init__(self) -> None:
        self.charges: dict[str, dict[str, Any]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        key = environ["HTTP_IDEMPOTENCY_KEY"]
        self.charges.setdefault(key, {"charge": f"ch_{len(self.charges) + 1}", **body})
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"charge": self.charges[key]["charge"]}).encode()]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package the way an installer does: its files and its metadata in a folder of the path."""
    site = tmp_path / "site-packages"
    shutil.copytree(SOURCE, site / "billhook_acmepay", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / "billhook_acmepay-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: billhook-acmepay\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[billhook]\nacmepay = billhook_acmepay\n")
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.usefixtures("installed")
def test_an_unknown_provider_collects_an_invoice(backend: Backend) -> None:
    server = AcmeServer()
    settings = {
        "BILLHOOK_CONNECTIONS": "lago,acmepay",
        "ACMEPAY_API_URL": "http://acme.test",
        "ACMEPAY_SECRET": SECRET,
    }
    with Flow(backend, settings=settings, apps={"http://acme.test": server}).running() as flow:
        flow.api("PUT", "/customers/acct_1", name="Ada")
        flow.settle()
        invoice = flow.lago.issue_invoice("acct_1", 12000)
        flow.settle()
        ((key, charge),) = server.charges.items()
        assert key == f"lago-inv-{invoice['lago_id']}"
        assert charge["note"]["lago_invoice_id"] == invoice["lago_id"]
        told = json.dumps({**charge, "at": int(flow.clock.now().timestamp())}).encode()
        signature = HmacSha256([SECRET], encoding="hex").sign(told)
        assert flow.post("acmepay", told, {"acme-signature": signature}) == 200
        flow.settle()
        assert flow.invoice(invoice["lago_id"]).payment_status is PaymentStatus.SUCCEEDED
        assert [payment["reference"] for payment in flow.lago.payments] == [charge["charge"]]
        assert flow.dead() == []
