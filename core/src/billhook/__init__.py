"""Billing integrations as plugins: the contract every plugin meets, and the pure domain."""

__version__ = "0.1.0"
