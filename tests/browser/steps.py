"""What people do on pages with a provider's form, for the browser tests: open, fill in, answer their bank, look for faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.chromium import axe_path

PATIENCE = 90_000
"""Milliseconds to wait for anything: the machine may be busy."""
EXPECTED = ("status of 402", "favicon")
"""What a browser's console says of a declined card, and nothing of ours."""
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@contextmanager
def watched(browser: Browser, *, expected: tuple[str, ...] = EXPECTED, **options: Any) -> Iterator[Page]:
    """Open a page in a browser of its own; a refused source or an error in the console fails whoever opened it.

    :param expected: parts of what the console may say.    :param options: of the browser's context.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    unexpected = [text for text in problems if not any(part in text for part in expected)]
    assert not unexpected, unexpected


def fill_card(page: Page, within: str, number: str, *, cvc: str = "123") -> None:
    """Fill the provider's fields in, which are in a frame inside ``within`` (a CSS selector)."""
    fields = page.frame_locator(f"{within} iframe")
    fields.get_by_label("Card number").fill(number)
    fields.get_by_label("Expiry (MM / YY)").fill("08 / 31")
    fields.get_by_label("CVC").fill(cvc)


def answer_bank(page: Page, word: str) -> None:
    """Answer the bank's question: Complete or Fail."""
    page.frame_locator('iframe[name="stripe-challenge-frame"]').get_by_role("button", name=word).click()


def faults(page: Page) -> list[str]:
    """Return what is wrong with a page as it stands: it scrolls sideways, or breaks WCAG 2.2 AA.

    The latter is looked for where there is an axe (`make browser`), in a context that was opened with ``bypass_csp``.
    """
    found = []
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("scrolls sideways")
    axe = axe_path()
    if axe:
        page.add_script_tag(path=axe)
        result = page.evaluate("rules => axe.run({runOnly: rules})", list(RULES))
        found += [
            f"{each['id']}: {node['html'][:120]}" for each in result["violations"] for node in each["nodes"]
        ]
    return found
