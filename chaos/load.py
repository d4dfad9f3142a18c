"""Life at both ends: customers register and are billed, pay or are declined, get money back. Paced, seeded."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from billhook.http import ApiClient
from billhook_lago.sandbox import LagoSandbox
from chaos.payers import Page, PageOver, Payer

API_KEY = "bh_chaos_0123456789abcdef"
PATIENCE_SECONDS = 300.0
LOOK_SECONDS = 0.25


@dataclass
class World:
    """What was done, for the verdict. Ids are the sandboxes' own."""

    customers: list[str] = field(default_factory=list)
    invoices: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Life:
    """The people. Payers never look at a page older than the newest one of an invoice, as the pay page has it."""

    def __init__(
        self, *, host: str, lago: LagoSandbox, payer: Payer, seed: int, stop: threading.Event
    ) -> None:
        self.world = World()
        self._host = host
        self._lago, self._payer = lago, payer
        self._luck = random.Random(seed)
        self._stop = stop
        self._retired = threading.Event()
        self._turn = threading.Lock()
        self._visited: set[Page] = set()
        self._declined: Counter[str] = Counter()
        self._looked_after: set[str] = set()

    # --- before anything breaks ------------------------------------------------------------------------------------

    def register(self, count: int) -> None:
        """Register customers with the host; every second one agrees to be charged without being present."""
        for number in range(count):
            name = f"acct_{number}"
            details = {"name": f"Customer {number}", "email": f"{name}@acme.example", "currency": "EUR"}
            self._put(f"/api/v1/customers/{name}", details)
            self.world.customers.append(name)
            if number % 2:
                self._payer.agree(name, email=details["email"], number=number // 2)

    # --- while everything breaks -----------------------------------------------------------------------------------

    def bill(self, count: int, *, seconds: float) -> None:
        """Issue invoices evenly over a time, to customers the billing engine knows by then."""
        for _ in range(count):
            known = [customer["external_id"] for customer in self._lago.customers]
            while not known and not self._stop.wait(LOOK_SECONDS):
                known = [customer["external_id"] for customer in self._lago.customers]
            amount = self._luck.randrange(1_000, 90_000)
            invoice = self._lago.issue_invoice(self._luck.choice(known), amount)
            self.world.invoices.append(invoice["lago_id"])
            if self._stop.wait(seconds / count):
                return

    def pay_forever(self) -> None:
        """Visit open checkouts and pay or be declined; give money back now and then, at either end."""
        while not self._retired.wait(LOOK_SECONDS):
            with self._turn:
                self._pay()
                self._give_back()

    def retire(self) -> None:
        """Do nothing more by themselves."""
        self._retired.set()

    def returns(self) -> int:
        """Count how often money was given back, or is about to be."""
        counts = self.world.counts
        return counts["refunded at the provider"] + counts["refunded at the billing engine"]

    def pay_once(self) -> int:
        """Visit every open checkout once; return how many were. Who has retired pays."""
        with self._turn:
            return self._pay()

    def _pay(self) -> int:
        paid = self._payer.charges()
        unpaid = [page for page in self._payer.pages().values() if page.invoice not in paid]
        fresh = [page for page in unpaid if page not in self._visited]
        for page in fresh:
            self._visit(page)
        return len(fresh)

    def _visit(self, page: Page) -> None:
        self._visited.add(page)
        try:
            if not self._retired.is_set() and self._declined[page.invoice] < 2 and self._luck.random() < 0.25:
                self._payer.decline(page)
                self._declined[page.invoice] += 1
                self.world.counts["declined"] += 1
            else:
                self._payer.pay(page)
                self.world.counts["paid at a checkout"] += 1
        except PageOver:
            self.world.counts["checkouts that were over"] += 1

    def _give_back(self) -> None:
        """Decide once for each invoice that the billing engine has as paid."""
        documents = {invoice["lago_id"]: invoice for invoice in self._lago.invoices}
        for invoice, (first, *_) in self._payer.charges().items():
            document = documents[invoice]
            if invoice in self._looked_after or document["payment_status"] != "succeeded":
                continue
            self._looked_after.add(invoice)
            chance = self._luck.random()
            if chance < 0.15:
                self._payer.refund(first.payment, first.amount // 3)
                self.world.counts["refunded at the provider"] += 1
            elif chance < 0.3:
                self._credit(document)
                self.world.counts["refunded at the billing engine"] += 1

    def _credit(self, invoice: Mapping[str, Any]) -> None:
        """Do as an operator does: a credit note with a refund, through the engine's own API and a good line."""
        amount = invoice["total_amount_cents"] // 4
        note = {
            "invoice_id": invoice["lago_id"],
            "reason": "other",
            "refund_amount_cents": amount,
            "items": [{"fee_id": invoice["fees"][0]["lago_id"], "amount_cents": amount}],
        }
        headers = {"Authorization": "Bearer lago-sandbox-key"}
        with ApiClient(
            name="lago", base_url="http://lago.invalid/api/v1", headers=headers, app=self._lago
        ) as client:
            client.post("credit_notes", json={"credit_note": note})

    def _put(self, path: str, body: Mapping[str, str]) -> None:
        """Register again and again until the host says yes: repeating is harmless."""
        request = urllib.request.Request(
            self._host + path,
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
            method="PUT",
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                urllib.request.urlopen(request, timeout=10).close()
            except urllib.error.HTTPError as exc:
                if exc.code < 500 or time.monotonic() > deadline:
                    raise
            except OSError:
                if time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(LOOK_SECONDS)
