"""How the story looks in a terminal: a headline per step, what happened underneath, and a tick for every check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

WIDEST: Final = 120
"""Columns; a wider terminal makes no better reading."""

LABELS: Final = 8
"""Columns that a label (received, stored, sent…) takes, and as many the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One thing that happened: ``label`` says of what kind, ``where`` at which connection."""

    label: str
    where: str
    what: str
    after: str = ""  # what it came to, shown behind an arrow
    beside: str = ""  # shown behind it, weakly
    weak: bool = False  # of little interest


class Telling:
    """Prints the story and counts how many checks came out."""

    def __init__(self, console: Console) -> None:
        self._console = console
        unicode = console.encoding.lower().startswith("utf")
        self._yes, self._no, self._arrow, self._dot = (
            ("✓", "✗", "→", "▸") if unicode else ("ok", "NO", "->", ">")
        )
        self._plain = not unicode
        self.checks = 0
        self.failures = 0

    def title(self, text: str, lines: Sequence[str]) -> None:
        """Open the story."""
        self._console.print()
        self._console.print(Text(text, style="bold"))
        for line in lines:
            self._console.print(Text(line, style="dim"))

    def headline(self, number: int, title: str) -> None:
        """Begin a step."""
        self._console.print()
        rule = Rule(
            Text(f"{number}  {title}", style="bold cyan"),
            align="left",
            characters="-" if self._plain else "─",
        )
        self._console.print(rule)

    def beat(self, text: str) -> None:
        """Say what somebody does now."""
        self._console.print(Text.assemble((f"{self._dot} ", "cyan"), text))

    def news(self, items: Sequence[News]) -> None:
        """Show what came of it; a label is written once for a run of its lines."""
        width = max((len(item.where) for item in items), default=0)
        last = ""
        for item in items:
            label = "" if item.label == last else item.label
            self._line(label, item.where.ljust(max(width, LABELS)), self._what(item))
            last = item.label

    def check(self, claim: str, *, actual: object, expected: object) -> None:
        """Compare; a difference is shown and makes the story fail."""
        self.checks += 1
        if actual == expected:
            self._console.print(Text.assemble("  ", (f"{self._yes} ", "bold green"), claim))
            return
        self.failures += 1
        self._console.print(Text.assemble("  ", (f"{self._no} ", "bold red"), (claim, "red")))
        self._console.print(Text(f"      expected: {expected}\n      actual:   {actual}", style="red"))

    def broken(self, exc: Exception) -> None:
        """Say that a step could not go on."""
        self.failures += 1
        what = f"The step could not go on: {type(exc).__name__}: {exc}"
        self._console.print(Text.assemble("  ", (f"{self._no} ", "bold red"), (what, "red")))

    def ending(self, *, seconds: float) -> None:
        """Close the story with its result."""
        self._console.print()
        if self.failures:
            self._console.print(
                Text(f"{self.failures} of the story did not come out as told.", style="bold red")
            )
            return
        all_well = f"{self._yes} All {self.checks} checks came out as told, in {seconds:.1f} s."
        self._console.print(Text(all_well, style="bold green"))

    def places(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """List addresses, whole: they are there to be copied."""
        table = Table.grid(padding=(0, 3))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(name, Text(value, style="cyan"))
        self._console.print()
        if self._console.is_terminal:
            self._console.print(
                Panel(table, title=title, title_align="left", border_style="dim", expand=False)
            )
        else:
            self._console.print(Text(title, style="bold"))
            self._console.print(table)

    def say(self, text: str, *, style: str = "dim") -> None:
        """Print one line."""
        self._console.print(Text(text, style=style))

    def _line(self, label: str, where: str, what: Text) -> None:
        """Print one line of news; what does not fit goes on under itself."""
        indent = 2 + LABELS + 2 + len(where) + 2
        first, *rest = what.wrap(self._console, self._console.width - indent, overflow="fold") or [what]
        head = Text.assemble("  ", (label.ljust(LABELS), "dim"), "  ", (where, "magenta"), "  ")
        first.rstrip()
        self._console.print(head + first)
        for line in rest:
            line.rstrip()
            self._console.print(Text(" " * indent) + line)

    def _what(self, item: News) -> Text:
        what = Text(item.what, style="dim" if item.weak else "")
        if item.after:
            what.append(f"  {self._arrow} ", style="dim")
            what.append(item.after, style="dim" if item.weak else "green")
        if item.beside:
            what.append(f"  {item.beside}", style="dim")
        return what


def console(*, width: int | None = None) -> Console:
    """Return a console for the story: at most :data:`WIDEST` columns, plain when piped or with NO_COLOR."""
    made = Console(highlight=False, soft_wrap=False)
    made.width = min(width or made.width if made.is_terminal else WIDEST, WIDEST)
    return made
