"""What Lago's plans and usage mean: pure functions from its JSON to values."""

from __future__ import annotations

from billhook.errors import PayloadInvalid
from billhook.model import Plan, Ref, Usage, UsageLine
from billhook_lago.mapping import money
from billhook_lago.reading import Json, cents, flag, obj, obj_or_empty, period, rows, text, text_or_none


def plan(connection: str, body: Json) -> Plan:
    """Read a plan."""
    code = text(body, "code")
    return Plan(
        ref=Ref(connection, text(body, "lago_id")),
        code=code,
        name=text_or_none(body, "invoice_display_name") or text_or_none(body, "name") or code,
        amount=money(cents(body, "amount_cents"), text(body, "amount_currency")),
        interval=text(body, "interval"),
        pay_in_advance=flag(body, "pay_in_advance"),
        trial_days=trial_days(body),
        retiring=flag(body, "pending_deletion"),
    )


def trial_days(body: Json) -> float:
    """Return how many days a plan is free at first."""
    days = body.get("trial_period")
    if days is None:
        return 0
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 <= days < 100_000:
        raise PayloadInvalid("trial_period is not a number of days")
    return days


def usage(body: Json) -> Usage:
    """Read the consumption of a period; amounts are net of tax."""
    stretch, currency = period(body, "from_datetime", "to_datetime"), text(body, "currency")
    if stretch is None:
        raise PayloadInvalid("from_datetime or to_datetime is missing")
    return Usage(
        period=stretch,
        amount=money(cents(body, "amount_cents"), currency),
        lines=tuple(_usage_line(row, currency) for row in rows(body, "charges_usage")),
    )


def _usage_line(row: Json, currency: str) -> UsageLine:
    metric = obj(row, "billable_metric")
    code = text(metric, "code")
    return UsageLine(
        code=code,
        name=text_or_none(obj_or_empty(row, "charge"), "invoice_display_name")
        or text_or_none(metric, "name")
        or code,
        units=str(row.get("units", "0")),
        amount=money(cents(row, "amount_cents"), currency),
    )
