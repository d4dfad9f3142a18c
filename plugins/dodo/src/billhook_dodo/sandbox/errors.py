"""How the sandbox says no: Dodo's ``{"code", "message"}`` body with an HTTP status."""

from __future__ import annotations


class ApiError(Exception):
    """An answer other than 2xx. ``code`` is Dodo's own word for it, ``status`` the HTTP status.

    Dodo publishes its codes but not the status of each; where only the code is known, 422 is used for a request
    that can never work and 409 for one that clashes with the present state.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(f"{status} {code}: {message}")


def refused(code: str, message: str) -> ApiError:
    """Return a 422: understood, and not possible with these values."""
    return ApiError(422, code, message)


def conflict(code: str, message: str) -> ApiError:
    """Return a 409: not possible in the present state."""
    return ApiError(409, code, message)


def not_found(thing: str, ref: str) -> ApiError:
    """Return a 404 for ``thing`` (a singular noun) called ``ref``."""
    return ApiError(404, f"{thing.upper()}_NOT_FOUND", f"{thing.capitalize()} {ref} does not exist")


def invalid_body(where: str, what: str) -> ApiError:
    """Return the 422 for a body that does not have the documented shape; ``where`` is the path in the JSON."""
    return ApiError(422, "INVALID_REQUEST_BODY", f"{where or 'body'}: {what}")
