"""How the sandbox says no: Stripe's ``{"error": {type, code, message, param, …}}`` body with an HTTP status."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_DOCS = "https://stripe.com/docs/error-codes/"


class ApiError(Exception):
    """An answer other than 2xx. ``details`` go into the error object: ``code``, ``param``, ``decline_code``…

    ``begun``: execution had begun, so an idempotency key keeps this answer (declines); what fails the checks before it
    keeps none.
    """

    def __init__(self, status: int, kind: str, message: str, *, begun: bool = False, **details: Any) -> None:
        self.status = status
        self.kind = kind
        self.message = message
        self.details = {name: value for name, value in details.items() if value is not None}
        self.begun = begun
        super().__init__(f"{status} {kind} {details.get('code')}: {message}")

    @property
    def code(self) -> str | None:
        """Stripe's word for it."""
        code: str | None = self.details.get("code")
        return code

    @property
    def body(self) -> Json:
        """Return the JSON body."""
        error: Json = {"type": self.kind, "message": self.message, **self.details}
        if self.code:
            error["doc_url"] = _DOCS + self.code.replace("_", "-")
        return {"error": error}


def invalid(
    message: str, *, code: str | None = None, param: str | None = None, status: int = 400
) -> ApiError:
    """Return the answer to a request that cannot work as it is."""
    return ApiError(status, "invalid_request_error", message, code=code, param=param)


def missing(thing: str, ref: str, *, param: str = "id", status: int = 404) -> ApiError:
    """Return the answer for something that is not there; Stripe says 404 for the path and 400 for a parameter."""
    return invalid(f"No such {thing}: '{ref}'", code="resource_missing", param=param, status=status)


def unexpected_state(message: str, *, kind: str) -> ApiError:
    """Return the answer to something the intent's status does not allow; ``kind``: payment_intent or setup_intent."""
    return invalid(message, code=f"{kind}_unexpected_state")


def declined(error: Json, **objects: Any) -> ApiError:
    """Return the 402 for a declined attempt. ``error`` is the intent's last error, ``objects`` what goes beside it."""
    details = {name: value for name, value in error.items() if name not in ("type", "message", "doc_url")}
    return ApiError(402, "card_error", error["message"], begun=True, **details, **objects)
