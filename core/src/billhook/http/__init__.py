"""HTTP out: calls to a provider's API, and webhooks to receivers that somebody else names.

The only package that knows the HTTP library, which shows nowhere in it.
"""

from billhook.http.addresses import AllowedTargets, Target, read_target
from billhook.http.client import (
    LONGEST_WAIT,
    MEBIBYTE,
    ApiClient,
    ApiResponse,
    Params,
    Timeouts,
    redact,
    retry_after,
)
from billhook.http.sending import Answer, Post, Resolve, Sender, TargetForbidden

__all__ = [
    "LONGEST_WAIT",
    "MEBIBYTE",
    "AllowedTargets",
    "Answer",
    "ApiClient",
    "ApiResponse",
    "Params",
    "Post",
    "Resolve",
    "Sender",
    "Target",
    "TargetForbidden",
    "Timeouts",
    "read_target",
    "redact",
    "retry_after",
]
