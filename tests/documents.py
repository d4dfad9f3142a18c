"""The documentation as tests read it: its pages, code blocks, code spans and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block. ``marks`` is what stands after the language: ``test``, ``until=…``, ``file=…``."""

    language: str
    marks: str
    code: str

    def mark(self, name: str) -> str | None:
        """Return the value of ``name=value``; a value that begins with a quote goes to the end of the line."""
        found = re.search(rf"\b{name}=(.+)$", self.marks)
        return found[1] if found else None


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[Block]:
    for match in _FENCE.finditer(text_of(page)):
        language, _, marks = match["info"].strip().partition(" ")
        yield Block(language, marks.strip(), match["code"])


def spans(page: Path) -> list[str]:
    """Return what stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", _FENCE.sub("", text_of(page)))


def links(page: Path) -> list[str]:
    return [match["target"] for match in _LINK.finditer(_FENCE.sub("", text_of(page)))]


def anchors(page: Path) -> set[str]:
    """Return the fragments that a page's headings can be linked by."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
