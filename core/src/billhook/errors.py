"""Every error Billhook raises, and what its reader must do next.

::

    BillhookError
      ConfigInvalid      start-up stops; an operator must act (all problems at once, each naming its variable)
      PolicyInvalid, FactsInvalid, ScenarioInvalid
                         somebody wrote it wrongly: show all ``problems`` (in :mod:`billhook.access`)
      WebhookError
        SignatureInvalid   answer 401, store nothing
        PayloadInvalid     dead-letter it: the sender already has its 2xx
      LeaseInvalid       believe nothing the lease says; ask the host instead
      ProviderError
        Temporary          try again later, not before ``retry_after`` where the provider said so
        Permanent          trying again cannot help: dead-letter
        OutcomeUnknown     it may have happened: look at the provider first, never repeat blindly
      Refused            an expected "no"
        NotFound           the provider (or we) do not know this thing
        Conflict           it clashes with what is there; somebody must correct a value
        Unsupported        this provider, plan or licence cannot do it
        CredentialsRefused the API key is wrong, was revoked or may not do this; an operator must act
      SealBroken         a stored secret cannot be opened: bring its key back, or set it again

A declined card is none of these: it is a value (:class:`billhook.model.Decline`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta


class BillhookError(Exception):
    """Base of everything Billhook raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration: where it is, what is wrong, what to do."""

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.fix}".rstrip()


class ConfigInvalid(BillhookError):
    """The configuration cannot be used. ``problems`` holds every one, not the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class WebhookError(BillhookError):
    """A received webhook cannot be taken as it is."""


class SignatureInvalid(WebhookError):
    """Missing, malformed, wrong or outdated signature. Nothing may be stored."""


class PayloadInvalid(WebhookError):
    """Signed by the right sender, yet not readable."""


class LeaseInvalid(BillhookError):
    """A signed lease is not one, is not ours, was changed, or its time is over.

    ``unknown_key``: it may be good, yet names a key that is not known here; get the newest keys and try again.
    """

    def __init__(self, message: str, *, unknown_key: bool = False) -> None:
        self.unknown_key = unknown_key
        super().__init__(message)


class ProviderError(BillhookError):
    """A call to a provider did not end in an answer we can use.

    ``request_id`` is the provider's own id of the call where it gave one: support will ask for it.
    """

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        self.request_id = request_id
        super().__init__(message if request_id is None else f"{message} (request {request_id})")


class Temporary(ProviderError):
    """It did not happen and may work later: connection refused, 429, maintenance."""

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, request_id: str | None = None
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, request_id=request_id)


class Permanent(ProviderError):
    """It did not happen and repeating the same call will not change that."""


class OutcomeUnknown(ProviderError):
    """The call went out and no answer came: it may have moved money. Look before repeating."""


class Refused(BillhookError):
    """The provider understood and said no. ``code`` is its own word, ``field`` the value it names."""

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        self.code = code
        self.field = field
        super().__init__(message)


class NotFound(Refused):
    """The named thing does not exist there."""


class Conflict(Refused):
    """The value clashes with another or with what is fixed already."""


class Unsupported(Refused):
    """Not offered by this provider, plan, licence or connection."""


class SealBroken(BillhookError):
    """No key opens a stored secret, or it was changed. The message names what it is for and shows nothing of it."""


class CredentialsRefused(Refused):
    """The API key is not known, was revoked, or lacks the scope."""
