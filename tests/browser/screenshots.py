"""Take pictures of the pay page and the portal in every state, wide and narrow, light and dark, into .screenshots/.

Needs `uv sync --group e2e` and a Chromium; BILLHOOK_TEST_CHROMIUM names one that is not on PATH. With
BILLHOOK_TEST_AXE=path/to/axe.min.js every page is also checked for WCAG 2.2 AA.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import method_pictures, portal_states
from tests.browser.chromium import chromium_path
from tests.browser.pay_states import STATES, Site, served
from tests.browser.portal_pictures import PICTURES
from tests.browser.portal_site import portal_site

FOLDER = Path(__file__).resolve().parent.parent.parent / ".screenshots"
WIDTHS = (1280, 390, 320)
SCHEMES = ("light", "dark")
S = TypeVar("S")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    axe = os.environ.get("BILLHOOK_TEST_AXE")
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as site,
        portal_states.served(Path(folder)) as portal,
        portal_site(Path(folder), name="methods") as methods,
        sync_playwright() as playwright,
    ):
        method_pictures.prepare(methods)
        browser = playwright.chromium.launch(executable_path=chromium_path())
        problems = [
            problem
            for width in WIDTHS
            for scheme in SCHEMES
            for problem in (
                *take(browser, site, width, scheme, axe),
                *take_each(browser, portal, PICTURES, width, scheme, axe),
                *take_each(browser, methods, method_pictures.PICTURES, width, scheme, axe),
            )
        ]
        browser.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER}")
    return 1 if problems else 0


def take(browser: Browser, site: Site, width: int, scheme: str, axe: str | None) -> list[str]:
    """Take all pages in one width and colour scheme; return what is wrong with them."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=axe is not None
    )
    page, problems = context.new_page(), []
    for name in (*STATES, "waiting", "missing", "busy", "refused"):
        show(page, site, name)
        page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png", full_page=True)
        problems += [f"{name} {width} {scheme}: {what}" for what in wrong(page, axe)]
    context.close()
    return problems


def take_each(
    browser: Browser, site: S, pictures: Mapping[str, Callable[[Page, S], None]], width: int, scheme: str, axe: str | None
) -> list[str]:  # fmt: skip
    """Take all pictures of a site in one width and colour scheme; return what is wrong with them."""
    problems = []
    for name, shown in pictures.items():
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=axe is not None
        )
        page = context.new_page()
        shown(page, site)
        page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png", full_page=True)
        problems += [f"{name} {width} {scheme}: {what}" for what in wrong(page, axe)]
        context.close()
    return problems


def show(page: Page, site: Site, name: str) -> None:
    match name:
        case "waiting":
            page.goto(site.page("open", "?status=succeeded"))
        case "busy" | "refused":
            page.goto(site.page({"busy": "overdue", "refused": "reopened"}[name]))
            page.get_by_role("button").click()
            page.get_by_role("alert").wait_for()
        case _:
            page.goto(site.page(name))


def wrong(page: Page, axe: str | None) -> list[str]:
    found = []
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("scrolls sideways")
    if axe:
        page.add_script_tag(path=axe)
        result = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
        found += [
            f"{each['id']}: {node['html'][:120]}" for each in result["violations"] for node in each["nodes"]
        ]
    return found


if __name__ == "__main__":
    sys.exit(main())
