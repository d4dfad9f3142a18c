"""House rules that no linter knows; each names the file and line that breaks it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for pattern in ("core/src", "web/src", "plugins/*/src") for path in ROOT.glob(f"{pattern}/**/*.py")
)
TESTS = sorted(
    path
    for pattern in ("tests", "core/tests", "web/tests", "plugins/*/tests")
    for path in ROOT.glob(f"{pattern}/**/*.py")
)
OTHER_TEXT = [
    ROOT / "Makefile",
    ROOT / "pyproject.toml",
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *(path for path in ROOT.glob("scripts/*") if path.is_file()),
]

VENDORS = re.compile("lago|dodo|stripe|gocardless|adyen", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
PATCHING = re.compile(r"mock\.pat" r"ch|from unittest\.mock import|from unittest import mo" r"ck|\bmocker\b")
LONGEST_FUNCTION = 60
LONGEST_FILE = 500
LONGEST_README = 100


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def hits(pattern: re.Pattern[str], paths: list[Path]) -> Iterator[str]:
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                yield f"{named(path)}:{number}: {line.strip()[:100]}"


def test_only_the_session_scope_commits() -> None:
    host = [path for path in SOURCES if named(path) != "web/src/billhook_web/db.py"]
    assert list(hits(re.compile(r"\.commit\("), host)) == []


@pytest.mark.parametrize("package", ["core/src", "web/src"])
def test_core_and_host_name_no_vendor(package: str) -> None:
    files = sorted(
        path
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".html", ".css", ".js", ".toml"} and "vendor" not in path.parts
    )
    assert files, "nothing was looked at"
    assert list(hits(VENDORS, files)) == []
    assert [named(path) for path in files if VENDORS.search(named(path))] == []


def test_nothing_is_left_unfinished() -> None:
    assert list(hits(UNFINISHED, [*SOURCES, *TESTS, *OTHER_TEXT])) == []


def test_tests_use_fakes_and_arguments_instead_of_patches() -> None:
    assert list(hits(PATCHING, [*SOURCES, *TESTS])) == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_README


def test_every_function_fits_a_screen() -> None:
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION and "migrations" not in path.parts:
                    long.append(f"{named(path)}:{node.lineno} {node.name} has {lines} lines")
    assert long == []


def test_every_file_can_be_read_in_one_sitting() -> None:
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        named(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_no_module_is_named_after_nothing() -> None:
    assert [
        named(path)
        for path in SOURCES
        if path.stem in {"utils", "util", "helpers", "common", "base", "manager"}
    ] == []
