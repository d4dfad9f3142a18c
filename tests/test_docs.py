"""The documentation is complete and true: whatever can be set, called, sent or planned is in it, and nothing else is."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from scripts import reference

from billhook import effects, events
from billhook.config import load_connection, settings_of
from billhook.hookspecs import HookSpecs
from billhook_web.auth import SCOPES
from billhook_web.cli import main
from billhook_web.settings import HostSettings, read_configuration
from tests.documents import DOCS, PAGES, REFERENCE, ROOT, anchors, blocks, links, named, spans, text_of

LONGEST_DECISION = 50
VARIABLE = re.compile(r"\b(?:BILLHOOK|LAGO|DODO|MAIL|ACME)_[A-Z][A-Z0-9_]*\b")
NO_VARIABLES = {"BILLHOOK_API"}  # what a plugin's module says about itself
FOR_TESTS = {"BILLHOOK_TEST_DATABASE_URL", "BILLHOOK_TEST_REDIS_URL"}
EXAMPLES = {
    "lago-eu": "lago",
    "lago-us": "lago",
    "mail": "notifications",
}  # connections that only the documentation knows


@cache
def openapi() -> dict[str, Any]:
    return reference.openapi()


@cache
def variables() -> frozenset[str]:
    """Every variable there is: of the host, of a connection of each plugin, of the examples."""
    known = {each.variable for each in settings_of(HostSettings, "billhook")}
    configs = reference.connection_configs()
    for connection, plugin in ({name: name for name in configs} | EXAMPLES).items():
        known |= {each.variable for each in settings_of(configs[plugin], connection)}
    return frozenset(known)


def commands() -> Iterator[tuple[str, click.Command]]:
    def walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        for name, each in getattr(command, "commands", {}).items():
            yield from walk(f"{path} {name}", each)

    return walk("billhook", main)


# --- complete --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", reference.GENERATED)
def test_a_reference_page_says_what_the_code_says(name: str) -> None:
    assert reference.rendered(name) == text_of(REFERENCE / name), "run .venv/bin/python scripts/reference.py"


def test_every_hook_is_documented() -> None:
    hooks = {name for name, each in vars(HookSpecs).items() if callable(each) and not name.startswith("_")}
    headings = set(re.findall(r"^### `(\w+)`$", text_of(REFERENCE / "hooks.md"), re.MULTILINE))
    assert hooks
    assert hooks - headings == set()


@pytest.mark.parametrize("page", ["reference/hooks.md", "how-to/write-a-provider.md"])
def test_every_hook_is_named(page: str) -> None:
    known = spans(DOCS / page)
    assert [each.__name__ for each in reference.hook_functions() if each.__name__ not in known] == []


def test_every_variable_is_documented_and_so_are_their_file_twins() -> None:
    page = text_of(REFERENCE / "environment.md")
    examples = tuple(f"{name.upper().replace('-', '_')}_" for name in EXAMPLES)
    rows = [each for each in variables() if not each.startswith(examples)]
    assert len(rows) > 20
    assert [each for each in rows if f"| `{each}` |" not in page] == []
    assert "`_FILE`" in page


def test_every_command_and_option_is_documented() -> None:
    sections = re.split(r"^## ", text_of(REFERENCE / "cli.md"), flags=re.MULTILINE)
    by_path = {section.partition("\n")[0].strip("`"): section for section in sections}
    missing = []
    for path, command in commands():
        options = [name for each in command.params if isinstance(each, click.Option) for name in each.opts]
        section = by_path.get(path, "")
        missing += [f"{path} {name}".strip() for name in ("", *options) if not section or name not in section]
    assert missing == []


def test_every_route_of_the_api_is_documented() -> None:
    headings = set(re.findall(r"^## `([A-Z]+ /\S+)`$", text_of(REFERENCE / "api.md"), re.MULTILINE))
    routes = {
        f"{method.upper()} {path}"
        for path, methods in openapi()["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert len(routes) > 20
    assert routes == headings


def test_every_scope_is_documented() -> None:
    assert [scope for scope in SCOPES if f"| `{scope}` |" not in text_of(REFERENCE / "api.md")] == []


def test_every_event_and_effect_is_documented() -> None:
    headings = set(
        re.findall(r"^### `([\w.]+)`$", text_of(REFERENCE / "events-and-effects.md"), re.MULTILINE)
    )
    kinds = {
        each.default for kind in get_args(effects.Effect) for each in fields(kind) if each.name == "kind"
    }
    assert events.EVENT_TYPES | kinds == headings


def test_the_example_of_a_file_can_be_read(tmp_path: Path) -> None:
    (block,) = [each for each in blocks(REFERENCE / "environment.md") if each.language == "toml"]
    file = tmp_path / "billhook.toml"
    file.write_text(block.code, encoding="utf-8")
    configuration = read_configuration({"BILLHOOK_CONFIG": str(file)})
    assert [each.name for each in configuration.connections] == ["lago", "dodo"]
    secrets = {
        "DODO_API_KEY": "key",
        "DODO_WEBHOOK_SECRET": reference.DOCS_ENVIRONMENT["DODO_WEBHOOK_SECRET"],
    }
    config = reference.connection_configs()["dodo"]
    dodo = load_connection(config, "dodo", env=secrets, table=configuration.tables["dodo"])
    assert dodo.model_dump()["products"] == {"EUR": "pdt_0000000001"}


# --- nothing that is not there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_variable_is_invented(page: Path) -> None:
    own = {f"ACME_{name}" for name in ("API_URL", "API_KEY", "WEBHOOK_SECRET")}
    known = variables() | own | FOR_TESTS | NO_VARIABLES
    told = {name.removesuffix("_FILE") for name in VARIABLE.findall(text_of(page))}
    assert told - known == set()


def test_the_variables_of_the_test_suite_are_real() -> None:
    servers = text_of(ROOT / "tests" / "servers.py")
    assert [name for name in FOR_TESTS if name not in servers] == []


def told_commands(page: Path) -> Iterator[str]:
    """Each call of the command: lines of shell blocks, and code spans."""
    lines = [
        line.strip() for block in blocks(page) if block.language == "sh" for line in block.code.splitlines()
    ]
    yield from (each for each in (*lines, *spans(page)) if re.match(r"billhook( |$)", each))


def wrong_with(line: str) -> str | None:
    words = shlex.split(re.split(r"[|>&;…]", line)[0])[1:]
    command: click.Command = main
    known = {"-h", "--help"}
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.commands.get(words.pop(0))
        if found is None:
            return f"{line}: no such command"
        command = found
    known |= {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    return f"{line}: no option {unknown}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_command_or_option_is_invented(page: Path) -> None:
    assert [wrong for line in told_commands(page) if (wrong := wrong_with(line)) is not None] == []


def test_an_invented_command_would_be_noticed() -> None:
    assert wrong_with("billhook events replay --all-dead > out.txt") is None
    assert wrong_with("billhook effects undo 3") is not None
    assert wrong_with("billhook serve --colour") is not None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_route_of_the_api_is_invented(page: Path) -> None:
    told = set(re.findall(r"/api/v1(/[^\s\"'`?)]+)", text_of(page))) - {"/…", "/openapi.json"}
    patterns = [re.sub(r"\\{\w+\\}", r"[^/]+", re.escape(path)) for path in openapi()["paths"]]
    sandbox = {"/subscriptions", "/invoices/${INVOICE#lago:}"}  # of Lago's own API, in the tutorial
    assert [
        path for path in told - sandbox if not any(re.fullmatch(each, f"/api/v1{path}") for each in patterns)
    ] == []


# --- well made -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, fragment = target.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (fragment and fragment not in anchors(there)):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    reached = {(DOCS / target.partition("#")[0]).resolve() for target in links(DOCS / "README.md")}
    assert [
        named(page) for page in DOCS.rglob("*.md") if page.resolve() not in reached | {DOCS / "README.md"}
    ] == []


def test_decisions_are_short_numbered_and_complete() -> None:
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    for page in decisions:
        text = text_of(page)
        assert len(text.splitlines()) <= LONGEST_DECISION, named(page)
        for part in ("Status: ", "## Context", "## Decision", "## Consequences", "## Alternatives"):
            assert part in text, f"{named(page)} lacks {part}"
