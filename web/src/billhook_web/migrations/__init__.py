"""Alembic's files: the environment and one file per revision. Run through :mod:`billhook_web.stores.schema`."""
