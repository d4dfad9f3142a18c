"""Subscriptions and plans: what the billing engines hold, and what can be asked of them where they support it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import marshmallow as ma
from flask import Response, jsonify

from billhook.errors import Conflict, Unsupported
from billhook.model import Subscription, SubscriptionStatus
from billhook.provider import BillingEngine, CancelWhen, SupportsPlans, SupportsSubscriptions, SupportsUsage
from billhook_web.api import serialise
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice, Text, read_instant
from billhook_web.api.host import ask, needs, note_action, runtime
from billhook_web.api.paging import filter_text
from billhook_web.api.parsing import Blueprint, Input, Told, invalid
from billhook_web.api.schemas import PlanSchema, SubscriptionSchema, UsageSchema
from billhook_web.api.things import ThingsQuery, each, find_subscription, list_things
from billhook_web.stores import accounts, billing

blueprint = Blueprint("subscriptions", __name__, description="Agreements, plans and usage.")


class SubscriptionsQuery(ThingsQuery):
    """Which subscriptions."""

    status = Choice(SubscriptionStatus, about="Where it stands.", load_default=None)


class SubscribeInput(Input):
    """A new agreement."""

    customer = Text(about="Your id of the customer.", required=True)
    plan = Text(about="Code of the plan.", required=True)
    id = Text(about="The agreement's id: yours, stable over plan changes.", required=True)
    connection = Text(about="The billing engine; may be left out when there is one.", load_default=None)


class ChangePlanInput(Input):
    """The plan to move to."""

    plan = Text(about="Code of the plan.", required=True)


class CancelInput(Input):
    """When it ends."""

    when = Text(about="now, period_end, or an instant: ISO 8601 with its offset.", required=True)

    @ma.post_load
    def _understand(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"when": _when(data["when"])}


class PlansQuery(Input):
    """Whose plans."""

    connection = filter_text("The billing engine; all when left out.")


@blueprint.route("/subscriptions")
@needs("billing:read")
@blueprint.arguments(SubscriptionsQuery, location="query")
@blueprint.response(200, page(SubscriptionSchema))
def list_subscriptions(query: dict[str, Any]) -> Response:
    """List subscriptions, the newest first."""
    return list_things(billing.subscriptions, "subscriptions", query, each(serialise.subscription))


@blueprint.route("/subscriptions/<any_text:ref>")
@needs("billing:read")
@blueprint.response(200, SubscriptionSchema)
def get_subscription(ref: str) -> Response:
    """Show a subscription, by the ref of a row or as <connection>:<id of the agreement>: then the live row."""
    return jsonify(serialise.subscription(find_subscription(ref)))


@blueprint.route("/subscriptions", methods=["POST"])
@needs("billing:write")
@blueprint.arguments(SubscribeInput)
@blueprint.response(201, SubscriptionSchema)
def subscribe(said: dict[str, Any]) -> Response:
    """Start a subscription; the same again answers what is there."""
    chosen = _chosen_engine(said["connection"])
    engine = _subscribing(chosen)
    with runtime().db.read() as tx:
        if accounts.get_customer(tx, said["customer"]) is None:
            raise invalid("customer", "There is no such customer here; register it first.")
    check_changes(said["customer"])
    _note("subscribe", f"{chosen.connection}:{said['id']}", plan=said["plan"])
    made = ask(
        chosen.connection,
        lambda: engine.subscribe(customer_id=said["customer"], plan=said["plan"], external_id=said["id"]),
    )
    response = jsonify(serialise.subscription(made))
    response.status_code = 201
    return response


@blueprint.route("/subscriptions/<any_text:ref>/change-plan", methods=["POST"])
@needs("billing:write")
@blueprint.arguments(ChangePlanInput)
@blueprint.response(200, SubscriptionSchema)
def change_plan(said: dict[str, Any], ref: str) -> Response:
    """Move to another plan; whether now or at the period's end is the billing engine's rule."""
    found = find_subscription(ref)
    check_changes(found.customer_id)
    engine = _engine_of(found)
    _note("change_plan", found.ref, plan=said["plan"])
    changed = ask(found.ref.connection, lambda: engine.change_plan(found, plan=said["plan"]))
    return jsonify(serialise.subscription(changed))


@blueprint.route("/subscriptions/<any_text:ref>/cancel", methods=["POST"])
@needs("billing:write")
@blueprint.arguments(CancelInput)
@blueprint.response(200, SubscriptionSchema)
def cancel(said: dict[str, Any], ref: str) -> Response:
    """End a subscription now, at the period's end, or at an instant."""
    found = find_subscription(ref)
    engine = _engine_of(found)
    _note("cancel", found.ref, when=str(said["when"]))
    canceled = ask(found.ref.connection, lambda: engine.cancel(found, when=said["when"]))
    return jsonify(serialise.subscription(canceled))


@blueprint.route("/subscriptions/<any_text:ref>/undo-cancel", methods=["POST"])
@needs("billing:write")
@blueprint.response(200, SubscriptionSchema)
def undo_cancel(ref: str) -> Response:
    """Take a scheduled end back."""
    found = find_subscription(ref)
    engine = _engine_of(found)
    _note("undo_cancel", found.ref)
    return jsonify(serialise.subscription(ask(found.ref.connection, lambda: engine.undo_cancel(found))))


@blueprint.route("/subscriptions/<any_text:ref>/cancel-pending-change", methods=["POST"])
@needs("billing:write")
@blueprint.response(204)
def cancel_pending_change(ref: str) -> Response:
    """Call off a scheduled plan change."""
    found = find_subscription(ref)
    engine = _engine_of(found)
    _note("cancel_pending_change", found.ref)
    ask(found.ref.connection, lambda: engine.cancel_pending_change(found))
    return Response(status=204)


@blueprint.route("/subscriptions/<any_text:ref>/usage")
@needs("billing:read")
@blueprint.response(200, UsageSchema)
def get_usage(ref: str) -> Response:
    """Show what was consumed so far in the current period."""
    found = find_subscription(ref)
    engine = runtime().connections.engine(found.ref.connection)
    if not isinstance(engine, SupportsUsage):
        raise Unsupported(f"{engine.info.title} meters no usage.")
    used = ask(
        found.ref.connection,
        lambda: engine.usage(customer_id=found.customer_id, external_id=found.external_id),
    )
    return jsonify(serialise.usage(used))


@blueprint.route("/plans")
@needs("billing:read")
@blueprint.arguments(PlansQuery, location="query")
@blueprint.response(200, page(PlanSchema))
def list_plans(query: dict[str, Any]) -> Response:
    """List what the billing engines sell, as they have it now."""
    if query["connection"] is not None:
        engine = _chosen_engine(query["connection"])
        if not isinstance(engine, SupportsPlans):
            raise Unsupported(f"{engine.info.title} lists no plans.")
        engines: list[tuple[str, object]] = [(engine.connection, engine)]
    else:
        engines = [(each.name, each.engine) for each in runtime().connections.engines()]
    selling = [(name, engine) for name, engine in engines if isinstance(engine, SupportsPlans)]
    plans = [serialise.plan(plan) for name, engine in selling for plan in ask(name, engine.plans)]
    return jsonify(data=plans, next_cursor=None)


def _note(verb: str, subject: object, **detail: str) -> None:
    """Note what is asked of the billing engine, before it is asked: what came of it may never be known here."""
    with runtime().db.begin() as tx:
        note_action(tx, f"subscription.{verb}", subject, **detail)


def check_changes(customer_id: str) -> None:
    """Refuse, with the reason, when the customer's standing does not let plans be changed."""
    decision = runtime().answering.now(customer_id).body
    if decision["block_changes"]:
        why = " ".join(reason["text"] for reason in decision["reasons"])
        message = f"Plans cannot be changed while the customer is {decision['standing']}. {why}"
        raise Conflict(message.rstrip(), code="changes_blocked")


def _chosen_engine(name: str | None) -> BillingEngine:
    engines = runtime().connections.engines()
    names = [engine.name for engine in engines]
    if not names:
        raise Unsupported("No billing engine is connected.")
    if name is None and len(names) > 1:
        raise invalid("connection", "There are several billing engines: name one.", allowed=names)
    if name is not None and name not in names:
        raise invalid("connection", "No billing engine is connected under this name.", allowed=names)
    return runtime().connections.engine(name or names[0])


def _engine_of(subscription: Subscription) -> SupportsSubscriptions:
    return _subscribing(runtime().connections.engine(subscription.ref.connection))


def _subscribing(engine: BillingEngine) -> SupportsSubscriptions:
    if not isinstance(engine, SupportsSubscriptions):
        raise Unsupported(f"{engine.info.title} cannot start, change or end subscriptions through its API.")
    return engine


def _when(text: str) -> CancelWhen | datetime:
    try:
        return CancelWhen(text)
    except ValueError:
        pass
    try:
        return read_instant(text)
    except ma.ValidationError as exc:
        allowed = (*CancelWhen, "an instant such as 2026-09-30T00:00:00Z")
        message = Told("Say when: a word that is allowed, or an instant.", allowed=allowed)
        raise ma.ValidationError([message], "when") from exc
