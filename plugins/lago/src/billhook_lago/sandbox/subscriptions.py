"""``/subscriptions``: create, change plan, schedule an end, terminate.

One POST does three things: a new ``external_id`` starts a subscription, the same plan returns what is there, and
another plan is an upgrade (dearer or equal per year: at once) or a downgrade (cheaper: at the end of the period).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from werkzeug.wrappers import Response

from billhook_lago.sandbox import lifecycle
from billhook_lago.sandbox.answers import feature_unavailable, invalid, not_found, paged, rooted
from billhook_lago.sandbox.calls import ANY, Call, Rule, Schema, choose, instant, require
from billhook_lago.sandbox.customers import new_customer
from billhook_lago.sandbox.serializers import subscription_json
from billhook_lago.sandbox.state import Customer, Json, Plan, Subscription
from billhook_lago.sandbox.world import World

_EDITABLE = ("name", "ending_at", "subscription_at", "purchase_order_number", "billing_entity_code")
_SHARED: Schema = {
    **dict.fromkeys(_EDITABLE),
    "plan_overrides": ANY,
    "payment_method": dict.fromkeys(("payment_method_type", "payment_method_id")),
    "activation_rules": [dict.fromkeys(("type", "timeout_hours"))],
    "progressive_billing_disabled": ANY,
    "consolidate_invoice": ANY,
    "usage_thresholds": ANY,
    "invoice_custom_section": dict.fromkeys(("skip_invoice_custom_sections", "invoice_custom_section_codes")),
}
_CREATE: Schema = {
    **_SHARED,
    **dict.fromkeys(("external_customer_id", "plan_code", "external_id", "billing_time")),
}
_STATUSES = ("pending", "active", "terminated", "canceled", "incomplete")
_CREDIT_MODES = ("credit", "refund", "offset", "skip")
_FULL = ("customer", "plan", "entitlements")


class Subscriptions:
    """The subscription endpoints."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rules(self) -> list[Rule]:
        """Return the routes."""
        return [
            ("POST", "/subscriptions", self.create),
            ("GET", "/subscriptions", self.find_all),
            ("GET", "/subscriptions/<external_id>", self.get),
            ("PUT", "/subscriptions/<external_id>", self.update),
            ("DELETE", "/subscriptions/<external_id>", self.delete),
        ]

    def create(self, call: Call) -> Response:
        """Start, change or return a subscription."""
        body = call.root("subscription", _CREATE, beside={"authorization": ANY})
        require(body, "external_customer_id", "plan_code", "external_id")
        choose(body, "billing_time", ("calendar", "anniversary"))
        self._refuse_overrides(body)
        plan = self._world.ledger.plan(body["plan_code"])
        if plan is None:
            raise not_found("plan")
        current = self._live(body["external_id"])
        if current is not None and current.customer.external_id != body["external_customer_id"]:
            raise invalid(external_id="value_already_exist")
        ending_at = self._ending_at(body)
        customer = self._customer_for(body, plan)
        if current is None:
            return self._answer(self._start_new(customer, plan, body, ending_at))
        return self._answer(self._change(current, plan, body))

    def find_all(self, call: Call) -> Response:
        """List subscriptions; only active ones unless other statuses are asked for."""
        call.only_filters("external_customer_id", "status", "plan_code", "external_id", "currency")
        statuses = call.values("status") or ["active"]
        rows = [row for row in reversed(self._world.ledger.subscriptions) if row.status in statuses]
        rows = [row for row in rows if _wanted(row, call)]
        now, account = self._world.now(), self._world.account
        return paged(
            "subscriptions", [subscription_json(account, row, "plan", now=now) for row in rows], call.query
        )

    def get(self, call: Call) -> Response:
        """Return the row in ``status`` (default active)."""
        return self._answer(self._find(call, str(call.query.get("status") or "active")))

    def update(self, call: Call) -> Response:
        """Change the name or the scheduled end; an explicit null takes the end back."""
        body = call.root("subscription", _SHARED, beside={"status": ANY})
        row = self._find(call, str(call.query.get("status") or call.body.get("status") or "active"))
        self._refuse_overrides(body)
        if "ending_at" in body:
            row.ending_at = self._ending_at(body)
        if "name" in body:
            row.name = body["name"] or ""
        if "purchase_order_number" in body:
            row.purchase_order_number = body["purchase_order_number"]
        self._world.announce.subscription("subscription.updated", row)
        return self._answer(row)

    def delete(self, call: Call) -> Response:
        """Terminate now, or with ``status=pending`` cancel what has not started."""
        if call.query.get("status") == "pending":
            return self._answer(self._cancel_pending(self._find(call, "pending")))
        row = self._find(call, "active")
        credit_mode = choose(dict(call.query), "on_termination_credit_note", _CREDIT_MODES)
        row.on_termination_invoice = str(
            choose(dict(call.query), "on_termination_invoice", ("generate", "skip"), "generate")
        )
        row.on_termination_credit_note = credit_mode if row.plan.pay_in_advance else None
        lifecycle.terminate(self._world, row, at=self._world.now())
        return self._answer(row)

    def _start_new(
        self, customer: Customer, plan: Plan, body: Json, ending_at: datetime | None
    ) -> Subscription:
        row = self._row(customer, plan, body, at=instant(body, "subscription_at") or self._world.now())
        row.ending_at = ending_at
        self._world.ledger.subscriptions.append(row)
        if row.subscription_at <= self._world.now():
            lifecycle.start(self._world, row, at=row.subscription_at)
        return row

    def _change(self, current: Subscription, plan: Plan, body: Json) -> Subscription:
        if current.plan is plan:
            return current
        if current.status == "pending":
            current.plan = plan
            return current
        if plan.yearly_cents >= current.plan.yearly_cents:
            return self._upgrade(current, plan, body)
        return self._schedule_downgrade(current, plan, body)

    def _upgrade(self, current: Subscription, plan: Plan, body: Json) -> Subscription:
        new = self._successor(current, plan, body, at=current.subscription_at)
        lifecycle.upgrade(self._world, current, new)
        return new

    def _schedule_downgrade(self, current: Subscription, plan: Plan, body: Json) -> Subscription:
        lifecycle.cancel_next(self._world, current)
        boundary = lifecycle.period_end(current, self._world.now())
        new = self._successor(current, plan, body, at=boundary)
        current.next, new.previous = new, current
        self._world.announce.subscription("subscription.updated", current)
        return current

    def _successor(self, current: Subscription, plan: Plan, body: Json, *, at: datetime) -> Subscription:
        terms = {
            "billing_time": current.billing_time,
            "external_id": current.external_id,
            "name": body.get("name"),
        }
        new = self._row(current.customer, plan, terms, at=at)
        new.ending_at = current.ending_at
        self._world.ledger.subscriptions.append(new)
        return new

    def _row(self, customer: Customer, plan: Plan, body: Json, *, at: datetime) -> Subscription:
        return Subscription(
            id=self._world.ledger.new_id(),
            external_id=body["external_id"],
            customer=customer,
            plan=plan,
            name=body.get("name") or "",
            status="pending",
            billing_time=body.get("billing_time") or "calendar",
            subscription_at=at,
            created_at=self._world.now(),
            purchase_order_number=body.get("purchase_order_number"),
        )

    def _cancel_pending(self, row: Subscription) -> Subscription:
        current = row.previous
        lifecycle.cancel(self._world, row)
        if current is not None:
            current.next = None
            self._world.announce.subscription("subscription.updated", current)
        self._world.announce.subscription("subscription.terminated", row)
        return row

    def _live(self, external_id: str) -> Subscription | None:
        ledger = self._world.ledger
        return ledger.subscription(external_id, "active") or ledger.subscription(external_id, "pending")

    def _find(self, call: Call, status: str) -> Subscription:
        if status not in _STATUSES:
            raise invalid(status="value_is_invalid")
        row = self._world.ledger.subscription(call.args["external_id"], status)
        if row is None:
            raise not_found("subscription")
        return row

    def _customer_for(self, body: Json, plan: Plan) -> Customer:
        """Return the customer, made on the fly when unknown; its currency is fixed by the first plan."""
        customer = self._world.ledger.customer(body["external_customer_id"])
        if customer is None:
            customer = new_customer(self._world, body["external_customer_id"])
            self._world.ledger.customers.append(customer)
        if customer.currency not in (None, plan.currency):
            raise invalid(currency="currencies_does_not_match")
        customer.fields["currency"] = plan.currency
        return customer

    def _ending_at(self, body: Json) -> datetime | None:
        ending_at = instant(body, "ending_at")
        tomorrow = self._world.now().date() + timedelta(days=1)
        if ending_at is not None and ending_at.date() < tomorrow:
            raise invalid(ending_at="invalid_date")
        return ending_at

    def _refuse_overrides(self, body: Json) -> None:
        if body.get("plan_overrides") and not self._world.account.premium:
            raise feature_unavailable()
        if body.get("plan_overrides"):
            raise invalid(plan_overrides="not_played_by_the_sandbox")

    def _answer(self, row: Subscription) -> Response:
        return rooted(
            "subscription", subscription_json(self._world.account, row, *_FULL, now=self._world.now())
        )


def _wanted(row: Subscription, call: Call) -> bool:
    have = {
        "external_customer_id": row.customer.external_id,
        "plan_code": row.plan.code,
        "external_id": row.external_id,
        "currency": row.plan.currency,
    }
    return all(not call.values(name) or value in call.values(name) for name, value in have.items())
