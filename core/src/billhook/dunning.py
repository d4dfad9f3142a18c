"""When a failed payment is tried again: the configured schedule, and the declines it must not touch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billhook.model import DeclineClass

LONGEST_PAUSE: Final = timedelta(days=366)
"""A longer pause is a slip of the pen: no mandate or saved card is charged a year after it failed."""

_ALLOWED = "such as P3D, P2W, PT12H or P1DT6H30M, of a year at most"
_WEEKS = re.compile(r"P(?P<weeks>[0-9]{1,6})W")
_DAYS_AND_TIME = re.compile(
    r"P(?!$)(?:(?P<days>[0-9]{1,6})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,6})H)?(?:(?P<minutes>[0-9]{1,6})M)?(?:(?P<seconds>[0-9]{1,9})S)?)?"
)


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """How long to wait after the first, second, … failed attempt; after the last pause nothing is tried again."""

    pauses: tuple[timedelta, ...]

    @classmethod
    def parse(cls, text: str) -> RetrySchedule:
        """Read ISO 8601 durations with commas between them, as in ``"P3D,P7D,P7D"``. Empty: never try again.

        :raises ValueError: naming the position, from 1, of the first that cannot be read.
        """
        if not text.strip():
            return cls(())
        return cls(tuple(_pause(item, position) for position, item in enumerate(text.split(","), start=1)))

    def next_attempt_at(self, failed_at: datetime, *, attempt: int, decline: DeclineClass) -> datetime | None:
        """Return when to try again after attempt number ``attempt`` (the first is 1) failed at ``failed_at``.

        None when the schedule is used up, and for every decline that waiting cannot cure.

        :raises ValueError: ``attempt`` is below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts are counted from 1, not {attempt}")
        match decline:
            case DeclineClass.HARD | DeclineClass.AUTHENTICATION:
                return None
            case DeclineClass.SOFT:
                return failed_at + self.pauses[attempt - 1] if attempt <= len(self.pauses) else None
            case _:
                raise ValueError(f"{decline!r} is not a decline class")


def parse_duration(text: str) -> timedelta:
    """Read one ISO 8601 duration: weeks (``P2W``), or days, hours, minutes and seconds (``P1DT6H30M``).

    Months and years are refused, having no fixed length.

    :raises ValueError: it is something else, or longer than a year.
    """
    match = _WEEKS.fullmatch(text) or _DAYS_AND_TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration {_ALLOWED}")
    duration = timedelta(**{unit: int(number) for unit, number in match.groupdict(default="0").items()})
    if duration > LONGEST_PAUSE:
        raise ValueError(f"{text!r} is too long; use a duration {_ALLOWED}")
    return duration


def _pause(item: str, position: int) -> timedelta:
    try:
        return parse_duration(item.strip())
    except ValueError as exc:
        raise ValueError(f"pause {position}: {exc}") from exc
