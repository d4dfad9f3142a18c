"""Dodo Payments as a payment provider and a webhook source."""
