"""Bring the texts of pages into the catalogues: `python scripts/messages.py`; `--check` only says what is missing.

New texts are added without a translation, texts that nobody says any more are removed, translations stay. A person then
fills in what is empty: a test holds every catalogue against the texts.
"""

from __future__ import annotations

import argparse
import sys
from io import BytesIO
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

PACKAGE = Path(__file__).resolve().parent.parent / "web" / "src" / "billhook_web"
LOCALES = PACKAGE / "locale"
WIDTH = 110
METHODS = [
    ("templates/**.html", "jinja2"),
    ("pages/**.py", "python"),
    ("portal/**.py", "python"),
    ("pay/**.py", "python"),
    ("services/portal_letters.py", "python"),
]
HEADER = """msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: {plural_forms}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None, "say": None, "count": (1, 2)}


def texts() -> Catalog:
    """Return every text that pages say, with where."""
    found = Catalog(charset="utf-8", fuzzy=False)
    for place, _line, text, comments, context in extract_from_dir(PACKAGE, METHODS, keywords=KEYWORDS):
        found.add(text, locations=[(place, 0)], auto_comments=comments, context=context)
    return found


def read(path: Path) -> Catalog:
    """Return a catalogue."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.name)


def brought_up_to_date(path: Path) -> bytes:
    """Return what a catalogue has to hold: every text, in their order, with the translations there are."""
    catalog = read(path)
    catalog.update(texts(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    written = BytesIO()
    write_po(written, catalog, width=WIDTH, include_lineno=False, omit_header=True, sort_by_file=True)
    header = HEADER.format(language=path.parent.name, plural_forms=catalog.plural_forms)
    return header.encode() + written.getvalue().rstrip() + b"\n"


def missing(path: Path) -> list[str]:
    """Return the texts a catalogue has no translation of, also in the plural."""
    catalog = read(path)
    return [
        str(message.id)
        for message in texts()
        if message.id and ((found := catalog.get(message.id)) is None or not all(_strings(found.string)))
    ]


def _strings(string: str | tuple[str, ...] | list[str]) -> list[str]:
    return [string] if isinstance(string, str) else list(string) or [""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a text is missing")
    check = parser.parse_args().check
    empty = 0
    for path in sorted(LOCALES.glob("*/messages.po")):
        if not check:
            path.write_bytes(brought_up_to_date(path))
        for text in missing(path):
            empty += 1
            print(f"{path.parent.name}: {text}", file=sys.stderr)
    return 1 if empty and check else 0


if __name__ == "__main__":
    sys.exit(main())
