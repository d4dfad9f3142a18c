"""What the pay page says when a click did not lead on: what happened, what it means for the money, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from billhook_web.pages.words import N_

RETRY_SECONDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A banner over the invoice. ``later``: worth another try in some seconds. ``title`` and ``text`` are translated when
    shown. ``form``: the provider's own fields may still be offered below it."""

    status: int
    title: str
    text: str
    tone: str = "bad"
    icon: str = "circle-x"
    later: bool = False
    form: bool = True


BUSY: Final = Trouble(
    status=503,
    tone="warn",
    icon="cloud-off",
    title=N_("The payment page didn’t open"),
    text=N_(
        "Our payment provider isn’t answering just now. Nothing was charged. Please try again in a moment."
    ),
    later=True,
    form=False,
)
NO_ANSWER: Final = Trouble(
    status=503,
    tone="warn",
    icon="cloud-off",
    title=N_("Our payment provider isn’t answering"),
    text=N_("Please try again in a few minutes. Nothing is charged twice."),
    later=True,
    form=False,
)
REFUSED: Final = Trouble(
    status=409,
    title=N_("This invoice can’t be paid online just now"),
    text=N_("Please write to the company that sent it to you, or try again later."),
    form=False,
)
DECLINED: Final = Trouble(
    status=402,
    title=N_("The payment was declined"),
    text=N_("Nothing was charged. Try again, or use another card or way to pay."),
)
GONE: Final = Trouble(
    status=404,
    tone="warn",
    icon="info",
    title=N_("That payment method isn’t here any more"),
    text=N_(
        "It was removed since you opened this page. Nothing was charged. Please choose another way to pay."
    ),
)
UNUSABLE: Final = Trouble(
    status=409,
    tone="warn",
    icon="info",
    title=N_("That payment method can’t be charged any more"),
    text=N_(
        "It has expired, or your bank withdrew the permission. Nothing was charged. Please choose another way to pay."
    ),
)
NOT_WITH_THIS: Final = Trouble(
    status=409,
    tone="warn",
    icon="info",
    title=N_("That payment method can’t pay this invoice"),
    text=N_("Nothing was charged. Please choose another way to pay."),
)
UNCLEAR: Final = Trouble(
    status=504,
    tone="warn",
    icon="clock",
    title=N_("We don’t know yet whether that worked"),
    text=N_(
        "Our payment provider didn’t answer in time. We’re finding out, and nothing is charged twice. Please look again in a few minutes."
    ),
    later=True,
    form=False,
)
FOREIGN_FORM: Final = Trouble(
    status=403,
    tone="warn",
    icon="shield-check",
    title=N_("Please choose once more"),
    text=N_("You were signed out, or signed in again, since this page was opened. Nothing was charged."),
)
