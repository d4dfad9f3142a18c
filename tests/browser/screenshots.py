"""Take pictures of the pay page and the portal in every state, wide and narrow, light and dark, into .screenshots/.

Needs what `make browser` sees to; BILLHOOK_TEST_CHROMIUM names a Chromium that is not on PATH, BILLHOOK_TEST_AXE another
axe.min.js. With axe every page is also checked for WCAG 2.2 AA: every finding is printed, and serious ones make the run fail, as do a page that scrolls sideways and a picture that could not be taken. `python -m
tests.browser.screenshots portal methods-add` takes only the pictures whose names begin so.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import structlog
from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.browser import method_pictures, portal_states
from tests.browser.chromium import axe_path, chromium_path
from tests.browser.pay_states import STATES, Site, served
from tests.browser.portal_pictures import PICTURES
from tests.browser.portal_site import portal_site

Scheme = Literal["light", "dark"]
FOLDER = Path(__file__).resolve().parent.parent.parent / ".screenshots"
WIDTHS = (1280, 390, 320)
CHECKED = (1280, 390)
"""The widths that axe looks at; the narrowest one has the layout of the next."""
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
GRAVE = frozenset({"serious", "critical"})
PATIENCE_MS = 60_000
"""How long one step to a picture may take on a busy machine."""
MOST_SECONDS = 1_800
"""How long everything may take; what is left then is named, and the run fails."""


@dataclass(frozen=True)
class Picture:
    """One state of one page: ``shown`` brings a fresh page there."""

    name: str
    shown: Callable[[Page], None]


@dataclass
class Album:
    """Takes the pictures with one browser, and keeps what is wrong with the pages."""

    browser: Browser
    axe: str | None
    problems: list[str] = field(default_factory=list)
    findings: int = 0
    taken: int = 0

    def take(self, picture: Picture) -> None:
        """Take a picture in every width and scheme. The page is brought to its state once for each scheme."""
        for scheme in SCHEMES:
            context = self.browser.new_context(
                viewport={"width": WIDTHS[0], "height": 800},
                color_scheme=scheme,
                bypass_csp=self.axe is not None,
            )
            context.set_default_timeout(PATIENCE_MS)
            try:
                self._take_widths(context.new_page(), picture, scheme)
            except Error as exc:
                self._problem(f"{picture.name} {scheme}: not taken: {exc.message.splitlines()[0]}")
            finally:
                context.close()

    def _take_widths(self, page: Page, picture: Picture, scheme: Scheme) -> None:
        picture.shown(page)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            page.screenshot(path=FOLDER / f"{picture.name}-{width}-{scheme}.png", full_page=True)
            self.taken += 1
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                self._problem(f"{picture.name} {width} {scheme}: scrolls sideways")
            if self.axe and width in CHECKED:
                self._check(page, f"{picture.name} {width} {scheme}")

    def _check(self, page: Page, where: str) -> None:
        if not page.evaluate("'axe' in window"):
            page.add_script_tag(path=self.axe)
        result: dict[str, Any] = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
        for each in result["violations"]:
            for node in each["nodes"]:
                self.findings += 1
                text = f"{where}: {each['impact']}: {each['id']}: {node['html'][:120]}"
                if each["impact"] in GRAVE:
                    self._problem(text)
                else:
                    say(text)

    def _problem(self, text: str) -> None:
        self.problems.append(text)
        say(f"PROBLEM {text}")


def main(wanted: Sequence[str] = ()) -> int:
    """Take the pictures whose names begin with what is wanted; return 0 when nothing serious is wrong."""
    FOLDER.mkdir(exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    axe, started = axe_path(), time.monotonic()
    say(f"axe: {axe or 'not run; `make browser` fetches it'}")
    with everything() as pictures, sync_playwright() as playwright:
        chosen = [each for each in pictures if each.name.startswith(tuple(wanted) or "")]
        album = Album(playwright.chromium.launch(executable_path=chromium_path()), axe)
        for number, picture in enumerate(chosen, start=1):
            passed = time.monotonic() - started
            if passed > MOST_SECONDS:
                left = ", ".join(each.name for each in chosen[number - 1 :])
                album.problems.append(f"the time is up; not taken: {left}")
                break
            say(f"[{number}/{len(chosen)}] {passed:4.0f} s  {picture.name}")
            album.take(picture)
        album.browser.close()
    return report(album, bool(axe))


def report(album: Album, checked: bool) -> int:
    """Say how it went; return the exit code."""
    for problem in album.problems:
        print(problem, file=sys.stderr)
    found = f"; axe found {album.findings}" if checked else ""
    print(f"{album.taken} pictures in {FOLDER}{found}; {len(album.problems)} problems")
    return 1 if album.problems else 0


@contextmanager
def everything() -> Iterator[list[Picture]]:
    """Serve every site; return all there is to see, in order."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pay = stack.enter_context(served(folder))
        portal = stack.enter_context(portal_states.served(folder))
        methods = stack.enter_context(portal_site(folder, name="methods"))
        method_pictures.prepare(methods)
        yield [
            *(
                Picture(name, partial(show, site=pay, name=name))
                for name in (*STATES, "waiting", "missing", "busy", "refused")
            ),
            *(bound(name, shown, portal) for name, shown in PICTURES.items()),
            *(bound(name, shown, methods) for name, shown in method_pictures.PICTURES.items()),
        ]


def bound(name: str, shown: Callable[[Page, Any], None], site: object) -> Picture:
    """Return the picture that ``shown`` shows of a site."""
    return Picture(name, lambda page: shown(page, site))


def show(page: Page, site: Site, name: str) -> None:
    """Bring a page to a state of the pay page."""
    match name:
        case "waiting":
            page.goto(site.page("open", "?status=succeeded"))
        case "busy" | "refused":
            page.goto(site.page({"busy": "overdue", "refused": "reopened"}[name]))
            page.get_by_role("button").click()
            page.get_by_role("alert").wait_for()
        case _:
            page.goto(site.page(name))


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
