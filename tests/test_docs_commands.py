"""What the documentation tells to type does what it says."""

import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from billhook.plugins import Installed, PluginStatus, load_plugins
from tests.documents import DOCS, PAGES, ROOT, Block, blocks, named

PATIENCE_SECONDS = 60.0
TUTORIAL = DOCS / "tutorial" / "first-invoice.md"
ACCESS = DOCS / "tutorial" / "access-policy.md"
PROVIDER = DOCS / "how-to" / "write-a-provider.md"


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who just installed Billhook, in an empty folder."""
    ours = ("BILLHOOK_", "LAGO_", "DODO_", "PYTEST", "COV_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**env, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}", "HOME": str(tmp_path)}


def told_to_run() -> list[tuple[str, Block]]:
    return [(named(page), each) for page in PAGES for each in blocks(page) if each.marks == "test"]


def test_some_blocks_are_run() -> None:
    assert [page for page, _ in told_to_run()] == ["README.md"]


@pytest.mark.parametrize(
    "block", [block for _, block in told_to_run()], ids=[page for page, _ in told_to_run()]
)
def test_a_block_that_is_marked_runs(block: Block, shell: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-e", "-c", block.code], cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = "\n".join(block.code for page in PAGES for block in blocks(page) if block.language == "sh")
    told = set(re.findall(r"^make (\w+)", code, re.MULTILINE))
    assert told >= {"demo", "test"}
    assert told - targets == set()


# --- the tutorial ----------------------------------------------------------------------------------------------------


class Terminal:
    """One shell that keeps its variables from block to block."""

    def __init__(self, cwd: Path, env: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["sh"], cwd=cwd, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def type(self, code: str) -> str:
        """Run some lines and return what they print; fail when the last of them fails."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{code}\nprintf '\\n__ended %s\\n' $?\n")
        self._shell.stdin.flush()
        said: list[str] = []
        for line in self._shell.stdout:
            if line.startswith("__ended"):
                assert line == "__ended 0\n", f"{code}\n{''.join(said)}"
                return "".join(said)
            said.append(line)
        raise AssertionError(f"the shell ended:\n{code}\n{''.join(said)}")

    def type_until(self, code: str, expected: str) -> None:
        """Run some lines again and again until they print ``expected``."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while expected not in (said := self.type(code)):
            assert time.monotonic() < deadline, f"no {expected} in:\n{said}"
            time.sleep(0.2)

    def close(self) -> None:
        self._shell.communicate()


@contextmanager
def running(code: str, cwd: Path, env: dict[str, str]) -> Iterator[None]:
    """Run a block that does not end, as in a terminal of its own."""
    process = subprocess.Popen(
        ["sh", "-e", "-c", code], cwd=cwd, env=env, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def wait_for_settings(file: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (file.exists() and file.read_text().count("export ") >= 5):
        assert time.monotonic() < deadline, f"{file.name} was not written"
        time.sleep(0.1)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                assert answer.status == 200
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial uses curl")
def test_the_tutorial_ends_with_a_paid_invoice_and_a_refund(shell: dict[str, str], tmp_path: Path) -> None:
    ports = dict(zip(("8080", "8101", "8102"), map(str, free_ports(3)), strict=True))
    looked_for = []
    with ExitStack() as terminals:
        main = Terminal(tmp_path, shell)
        terminals.callback(main.close)
        for block in blocks(TUTORIAL):
            code = re.sub("8080|8101|8102", lambda found: ports[found[0]], block.code)
            if block.language != "sh" or block.marks == "setup":
                continue
            if (name := block.mark("terminal")) is not None:
                terminals.enter_context(running(code, tmp_path, shell))
                if name == "host":
                    wait_until_ready(f"http://127.0.0.1:{ports['8080']}")
                else:
                    wait_for_settings(tmp_path / f"{name}.env")
            elif (expected := block.mark("until")) is not None:
                main.type_until(code, expected)
                looked_for.append(expected)
            else:
                main.type(code)
    assert '"engine_status":"succeeded"' in looked_for
    assert '"refund_status":"succeeded"' in looked_for


def test_the_tutorial_on_access_policies_ends_with_one_that_counts(
    shell: dict[str, str], tmp_path: Path
) -> None:
    said = []
    with ExitStack() as terminals:
        main = Terminal(tmp_path, shell)
        terminals.callback(main.close)
        for block in blocks(ACCESS):
            if (name := block.mark("file")) is not None:
                (tmp_path / name).write_text(block.code, encoding="utf-8")
                continue
            said.append(main.type(block.code))
            expected = block.mark("until")
            assert expected is not None
            assert expected.strip('"') in said[-1], said[-1]
    assert len(said) == 7


# --- writing a provider ----------------------------------------------------------------------------------------------


def test_the_provider_of_the_how_to_keeps_the_contract(
    shell: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks(PROVIDER):
        if (name := block.mark("file")) is not None:
            (tmp_path / name).write_text(block.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", "."],
        cwd=tmp_path, env=shell, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[3-9]\d passed", done.stdout), done.stdout
    monkeypatch.syspath_prepend(tmp_path)
    registry = load_plugins(
        {"acme"}, installed=[Installed(name="acme", load=lambda: importlib.import_module("billhook_acme"))]
    )
    state = registry.state("acme")
    assert state is not None
    assert (state.status, state.reason) == (PluginStatus.ENABLED, None)
