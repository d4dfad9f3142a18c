"""``/plans`` and ``/add_ons``: what can be sold."""

from __future__ import annotations

from werkzeug.wrappers import Response

from billhook_lago.sandbox.answers import invalid, not_found, paged, rooted
from billhook_lago.sandbox.calls import ANY, Call, Rule, Schema, cents, choose, require
from billhook_lago.sandbox.serializers import add_on_json, plan_json
from billhook_lago.sandbox.state import AddOn, Plan
from billhook_lago.sandbox.world import World

INTERVALS = ("weekly", "monthly", "quarterly", "semiannual", "yearly")

_PLAN_SCHEMA: Schema = {
    **dict.fromkeys(("name", "invoice_display_name", "code", "interval", "description", "amount_cents")),
    **dict.fromkeys(
        ("amount_currency", "trial_period", "pay_in_advance", "bill_charges_monthly", "tax_codes")
    ),
    **dict.fromkeys(("bill_fixed_charges_monthly", "minimum_commitment", "metadata")),
    "charges": ANY,
    "fixed_charges": ANY,
    "usage_thresholds": ANY,
}
_ADD_ON_SCHEMA: Schema = dict.fromkeys(
    ("name", "invoice_display_name", "code", "description", "amount_cents", "amount_currency", "tax_codes")
)


class Catalogue:
    """The plan and add-on endpoints."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rules(self) -> list[Rule]:
        """Return the routes."""
        return [
            ("POST", "/plans", self.create_plan),
            ("GET", "/plans", self.list_plans),
            ("GET", "/plans/<code>", self.get_plan),
            ("POST", "/add_ons", self.create_add_on),
            ("GET", "/add_ons", self.list_add_ons),
        ]

    def create_plan(self, call: Call) -> Response:
        """Create a plan; a code is unique."""
        body = call.root("plan", _PLAN_SCHEMA)
        require(body, "name", "code", "interval", "amount_currency")
        plan = add_plan(
            self._world,
            code=body["code"],
            name=body["name"],
            amount_cents=cents(body, "amount_cents"),
            currency=body["amount_currency"],
            interval=str(choose(body, "interval", INTERVALS)),
            pay_in_advance=bool(body.get("pay_in_advance")),
            trial_days=float(body.get("trial_period") or 0),
        )
        plan.description = body.get("description") or ""
        plan.invoice_display_name = body.get("invoice_display_name")
        return rooted("plan", plan_json(self._world.account, plan, "entitlements"))

    def list_plans(self, call: Call) -> Response:
        """List plans; Lago has no filters here."""
        call.only_filters()
        rows = [
            plan_json(self._world.account, plan, "entitlements")
            for plan in reversed(self._world.ledger.plans)
        ]
        return paged("plans", rows, call.query)

    def get_plan(self, call: Call) -> Response:
        """Return one plan."""
        plan = self._world.ledger.plan(call.args["code"])
        if plan is None:
            raise not_found("plan")
        return rooted("plan", plan_json(self._world.account, plan, "entitlements"))

    def create_add_on(self, call: Call) -> Response:
        """Create an add-on; a code is unique."""
        body = call.root("add_on", _ADD_ON_SCHEMA)
        require(body, "name", "code", "amount_cents", "amount_currency")
        if any(add_on.code == body["code"] for add_on in self._world.ledger.add_ons):
            raise invalid(code="value_already_exist")
        add_on = AddOn(
            id=self._world.ledger.new_id(),
            code=body["code"],
            name=body["name"],
            amount_cents=cents(body, "amount_cents"),
            currency=body["amount_currency"],
            created_at=self._world.now(),
            description=body.get("description"),
            invoice_display_name=body.get("invoice_display_name"),
        )
        self._world.ledger.add_ons.append(add_on)
        return rooted("add_on", add_on_json(self._world.account, add_on))

    def list_add_ons(self, call: Call) -> Response:
        """List add-ons."""
        call.only_filters()
        rows = [add_on_json(self._world.account, add_on) for add_on in reversed(self._world.ledger.add_ons)]
        return paged("add_ons", rows, call.query)


def add_plan(
    world: World,
    *,
    code: str,
    name: str,
    amount_cents: int,
    currency: str,
    interval: str,
    pay_in_advance: bool,
    trial_days: float,
) -> Plan:
    """Create a plan and announce it.

    :raises ApiError: 422 when the code is taken.
    """
    if world.ledger.plan(code) is not None:
        raise invalid(code="value_already_exist")
    plan = Plan(
        id=world.ledger.new_id(),
        code=code,
        name=name,
        amount_cents=amount_cents,
        currency=currency,
        interval=interval,
        pay_in_advance=pay_in_advance,
        trial_days=trial_days,
        created_at=world.now(),
    )
    world.ledger.plans.append(plan)
    world.announce.plan("plan.created", plan)
    return plan
