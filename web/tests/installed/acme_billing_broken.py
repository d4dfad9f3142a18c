"""A plugin whose import fails."""

raise RuntimeError("acme is out of order")
