"""API v1 under ``/api/v1``: JSON in and out, problems as errors, described at ``/api/v1/openapi.json``."""

from billhook_web.api.reference import register_api

__all__ = ["register_api"]
