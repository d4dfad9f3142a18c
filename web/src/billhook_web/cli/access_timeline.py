"""How decisions about access look in a terminal: the answer, its reasons, and a timeline of what was and what comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

COLOURS: Final = {"full": "green", "limited": "yellow", "none": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of the timeline. ``why`` says what brought it about, or what would prevent it."""

    at: str
    state: str
    access: str
    why: str = ""
    now: bool = False
    coming: bool = False


def show_answer(console: Console, body: Mapping[str, Any]) -> None:
    """Print a decision: what may be used, why, since when and until when."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("customer", Text(body["customer"]))
    table.add_row("access", _coloured(body["access"], body["access"]))
    table.add_row("state", _coloured(body["state"], body["access"]))
    table.add_row("standing", Text(body["standing"]))
    table.add_row("since", Text(when(body["since"])))
    table.add_row("changes", Text("blocked" if body["block_changes"] else "allowed"))
    table.add_row("unpaid", Text(amounts(body["unpaid"])))
    table.add_row("overdue", Text(amounts(body["overdue"])))
    for reason in body["reasons"]:
        table.add_row("because", Text(reason["text"]))
    table.add_row("next", Text(_next(body)))
    console.print(table)
    _show_subscriptions(console, body["subscriptions"])


def show_timeline(console: Console, moments: Sequence[Moment]) -> None:
    """Print what was, what is and what comes by itself, each in the colour of its access."""
    from rich.text import Text

    unicode = console.encoding.lower().startswith("utf")
    line, dot, coming, now = ("│", "●", "○", "◆") if unicode else ("|", "*", "o", "#")
    for number, moment in enumerate(moments):
        mark = now if moment.now else coming if moment.coming else dot
        colour = COLOURS.get(moment.access, "")
        said = Text.assemble(
            (f" {mark} ", colour),
            (f"{when(moment.at)}  ", "bold" if moment.now else "dim"),
            _coloured(f"{moment.state}, {moment.access}", moment.access),
            (f"  {moment.why}" if moment.why else "", "dim"),
        )
        console.print(said)
        if number + 1 < len(moments):
            console.print(Text(f" {line}", style=COLOURS.get(moment.access, "")))


def amounts(by_currency: Mapping[str, int]) -> str:
    """Write amounts in minor units by currency for people."""
    from billhook.money import Money

    return ", ".join(str(Money(minor, code)) for code, minor in by_currency.items()) or "-"


def when(instant: str | None) -> str:
    """Write an instant of a decision for people; None: a dash."""
    return "-" if instant is None else instant.replace("T", " ").removesuffix("Z") + " UTC"


def sentences(reasons: Iterable[Mapping[str, Any]]) -> str:
    """Return the reasons' sentences, one after the other."""
    return " ".join(each["text"] for each in reasons)


def _next(body: Mapping[str, Any]) -> str:
    if body["next_change_at"] is None:
        return "stays like this until something new happens"
    coming = body["next"]
    becomes = f"{coming['state']}, {coming['access']}" if coming else "a subscription changes"
    prevented = f"; to prevent it: {', '.join(body['prevented_by'])}" if body["prevented_by"] else ""
    return f"{when(body['next_change_at'])}: {becomes}{prevented}"


def _show_subscriptions(console: Console, lines: Mapping[str, Mapping[str, Any]]) -> None:
    if not lines:
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("subscription", "state", "access", "paid through", "because"):
        table.add_column(column, overflow="fold")
    for name, line in lines.items():
        access = _coloured(line["access"], line["access"])
        table.add_row(
            Text(name),
            Text(line["state"]),
            access,
            Text(when(line["paid_through"])),
            Text(sentences(line["reasons"])),
        )
    console.print()
    console.print(table)


def _coloured(text: str, access: str) -> Text:
    from rich.text import Text

    return Text(text, style=COLOURS.get(access, ""))
