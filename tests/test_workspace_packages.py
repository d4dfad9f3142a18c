"""The workspace holds together: one version, one licence, one lock that installs anywhere."""

import re
import tomllib
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "billhook": "core",
    "billhook-web": "web",
    "billhook-lago": "plugins/lago",
    "billhook-dodo": "plugins/dodo",
    "billhook-stripe": "plugins/stripe",
    "billhook-notifications": "plugins/notifications",
}


def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def project(folder: str) -> dict[str, Any]:
    return dict(toml(ROOT / folder / "pyproject.toml")["project"])


LOCKED = {package["name"]: package for package in toml(ROOT / "uv.lock")["package"]}


def test_every_package_of_the_workspace_is_known_here() -> None:
    folders = {
        "core",
        "web",
        *(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("plugins/*/pyproject.toml")),
    }
    assert folders == set(PACKAGES.values())


@pytest.mark.parametrize(("name", "folder"), PACKAGES.items())
def test_a_package_is_ready_to_publish(name: str, folder: str) -> None:
    facts = project(folder)
    assert (facts["name"], facts["license"], facts["requires-python"]) == (name, "Apache-2.0", ">=3.11")
    assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (ROOT / folder / facts["readme"]).is_file()
    assert (ROOT / folder / "src" / name.replace("-", "_") / "py.typed").is_file()


def test_all_packages_carry_one_version() -> None:
    assert len({project(folder)["version"] for folder in PACKAGES.values()}) == 1
    assert {name: distribution(name).version for name in PACKAGES} == {
        name: project(folder)["version"] for name, folder in PACKAGES.items()
    }


@pytest.mark.parametrize(
    "folder", ["plugins/lago", "plugins/dodo", "plugins/stripe", "plugins/notifications"]
)
def test_a_plugin_is_found_by_its_entry_point_and_floats_no_core(folder: str) -> None:
    facts = project(folder)
    short = folder.rpartition("/")[2]
    assert facts["entry-points"] == {"billhook": {short: f"billhook_{short}"}}
    assert "billhook>=0.1,<0.2" in facts["dependencies"]
    assert short in entry_points(group="billhook").names


def test_core_stays_small() -> None:
    names = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in project("core")["dependencies"]}
    assert names == {"pluggy", "packaging", "httpx", "pydantic", "pyjwt", "cryptography"}


def test_the_lock_names_public_hosts_only() -> None:
    urls = re.findall(r'"(https?://[^"]+|file:[^"]+)"', (ROOT / "uv.lock").read_text(encoding="utf-8"))
    assert {urlsplit(url).hostname for url in urls} == {"pypi.org", "files.pythonhosted.org"}


@pytest.mark.parametrize(("name", "folder"), PACKAGES.items())
def test_the_lock_is_as_new_as_the_package(name: str, folder: str) -> None:
    facts = project(folder)
    declared = [
        *facts["dependencies"],
        *(item for extra in facts.get("optional-dependencies", {}).values() for item in extra),
    ]
    locked = LOCKED[name]["metadata"]["requires-dist"]
    assert sorted(_parts(requirement) for requirement in declared) == sorted(
        (item["name"], _sorted(item.get("specifier", ""))) for item in locked
    )


def _parts(requirement: str) -> tuple[str, str]:
    name = re.split(r"[\[<>=~!; ]", requirement)[0]
    workspace = name in PACKAGES  # a member's own version stands in the lock instead
    specifier = requirement.removeprefix(name).partition(";")[0]
    return name, "" if workspace else _sorted(re.sub(r"\[.*?\]", "", specifier))


def _sorted(specifier: str) -> str:
    return ",".join(sorted(part.strip() for part in specifier.split(",")))
