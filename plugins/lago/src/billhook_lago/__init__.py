"""Lago as a billing engine and a webhook source."""
