"""``billhook access policies``, ``tag``, ``exempt``, ``write-off``: what operators decide, with who and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from billhook_web.cli.edge import (
    actor,
    database_errors,
    json_option,
    open_runtime,
    print_list,
    print_one,
    read_configuration,
    require_current,
)
from billhook_web.cli.policy_files import read_document

if TYPE_CHECKING:
    from billhook_web.db import Tx
    from billhook_web.runtime import Runtime
    from billhook_web.services.enacting import Enacted, Scope
    from billhook_web.services.exempting import Exempted
    from billhook_web.stores.policies import PolicyRow

EXEMPT: Final = "exempt"
"""The tag of those whom rules leave alone, unless another is named."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # as the API takes them

POLICY_COLUMNS = ("name", "version", "active", "created_at", "created_by", "note")

reason_option = click.option("--reason", required=True, help="Why; it is kept with who and when.")
customer_option = click.option("--customer", help="For this customer only; left out: for everybody.")


@click.group()
def policies() -> None:
    """Keep access policies and say which one counts."""


@policies.command("list")
@json_option
def list_policies(as_json: bool) -> None:
    """List policies, the newest version of each; 'active' is the version that counts for everybody."""
    from billhook_web.services.enacting import Scope

    with _managing() as runtime:
        rows = runtime.enacting.names()
        past = runtime.enacting.past(Scope())
    active = past[0][1] if past else None
    shown = [_policy(row, active) for row in rows]
    print_list(
        shown, columns=POLICY_COLUMNS, as_json=as_json, empty="No policies; nobody's access is limited."
    )


@policies.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--note", "reason", help="What is new in it.")
@json_option
def add(name: str, file: Path, reason: str | None, as_json: bool) -> None:
    """Keep FILE (TOML or JSON) as the next version of a policy. It counts only once it is activated.

    The same again is no new version.
    """
    from billhook_web.services.enacting import RESERVED

    if not _NAME.fullmatch(name) or name in RESERVED:
        raise click.BadParameter(
            f"{name!r} is no name for a policy; write small letters, digits, dots, dashes and underscores, and none of "
            f"{', '.join(RESERVED)}."
        )
    document = read_document(file)
    with _managing() as runtime:
        row, made = runtime.enacting.create(name, document, by=actor(), reason=reason, note=_note(runtime))
        warnings = runtime.enacting.check(document)[1]
    for problem in warnings:
        click.echo(f"Warning: {problem}", err=True)
    print_one({"name": row.name, "version": row.version, "new": made}, as_json=as_json)


@policies.command()
@click.argument("name")
@click.option("--version", type=int, help="Left out: the newest.")
@customer_option
@reason_option
@json_option
def activate(name: str, version: int | None, customer: str | None, reason: str, as_json: bool) -> None:
    """Let a policy count from now on. Everybody it concerns is judged again by the running host."""
    with _managing() as runtime:
        enacted = runtime.enacting.activate(
            _scope(customer), name=name, version=version, by=actor(), reason=reason, note=_note(runtime)
        )
    print_one(_enacted(enacted), as_json=as_json)


@policies.command()
@customer_option
@reason_option
@json_option
def rollback(customer: str | None, reason: str, as_json: bool) -> None:
    """Let count again what counted before."""
    with _managing() as runtime:
        enacted = runtime.enacting.roll_back(_scope(customer), by=actor(), reason=reason, note=_note(runtime))
    print_one(_enacted(enacted), as_json=as_json)


@click.command()
@click.argument("customer")
@click.argument("name", metavar="TAG")
@click.option("--remove", is_flag=True, help="Take it off.")
@reason_option
@json_option
def tag(customer: str, name: str, remove: bool, reason: str, as_json: bool) -> None:
    """Put a tag on a customer, which rules can ask for (has_tag, lacks_tag). It counts at once."""
    _tag(customer, name, remove=remove, reason=reason, as_json=as_json)


@click.command()
@click.argument("customer")
@click.option(
    "--tag", "name", default=EXEMPT, show_default=True, help="The tag that the policy's rules leave alone."
)
@click.option("--end", is_flag=True, help="They are no longer exempt.")
@reason_option
@json_option
def exempt(customer: str, name: str, end: bool, reason: str, as_json: bool) -> None:
    """Exempt a customer from the rules that say lacks_tag = "exempt", at once."""
    _tag(customer, name, remove=end, reason=reason, as_json=as_json)


@click.command("write-off")
@click.argument("invoice")
@click.option("--undo", is_flag=True, help="Ask for the debt again.")
@reason_option
@json_option
def write_off(invoice: str, undo: bool, reason: str, as_json: bool) -> None:
    """Give a debt up: INVOICE (connection:id) is not collected and counts against nobody's access."""
    from billhook.model import Ref

    try:
        ref = Ref.parse(invoice)
    except ValueError as exc:
        raise click.BadParameter(f"{invoice!r} is no invoice; write connection:id, as in acme:1a90…") from exc
    with _managing() as runtime:
        do = runtime.exempting.reinstate if undo else runtime.exempting.write_off
        exempted = do(ref, by=actor(), reason=reason, note=_note(runtime))
    print_one({"invoice": invoice, "written_off": not undo, "changed": exempted.changed}, as_json=as_json)


def _tag(customer: str, name: str, *, remove: bool, reason: str, as_json: bool) -> None:
    with _managing() as runtime:
        do = runtime.exempting.untag if remove else runtime.exempting.tag
        exempted: Exempted = do(customer, name, by=actor(), reason=reason, note=_note(runtime))
        stored = runtime.answering.now(customer)
    told = {"customer": customer, "tag": name, "carried": not remove, "changed": exempted.changed}
    print_one({**told, "state": stored.body["state"], "access": stored.body["access"]}, as_json=as_json)


@contextmanager
def _managing() -> Iterator[Runtime]:
    """Open the host; what it refuses ends the command in one line."""
    from billhook.access import PolicyInvalid
    from billhook.errors import Refused

    with open_runtime(read_configuration()) as runtime, database_errors():
        require_current(runtime.db)
        try:
            yield runtime
        except (Refused, PolicyInvalid) as exc:
            raise click.ClickException(str(exc)) from exc


def _note(runtime: Runtime) -> Any:
    from billhook_web.stores import audit

    def note(tx: Tx, action: str, subject: object, **detail: Any) -> None:
        audit.add(tx, at=runtime.clock.now(), actor=actor(), action=action, subject=subject, detail=detail)

    return note


def _scope(customer: str | None) -> Scope:
    from billhook_web.services.enacting import Scope

    return Scope(customer_id=customer)


def _policy(row: PolicyRow, active: PolicyRow | None) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "active": active.version if active is not None and active.name == row.name else None,
        "created_at": row.created_at,
        "created_by": row.created_by,
        "note": row.note,
        "document": row.document,
    }


def _enacted(enacted: Enacted) -> dict[str, Any]:
    row, assignment = enacted.policy, enacted.assignment
    return {
        "policy": row.name if row else assignment.plugin if assignment else None,
        "version": row.version if row else None,
        "scope": assignment.scope if assignment else None,
        "since": assignment.at if assignment else None,
        "changed": enacted.changed,
    }
