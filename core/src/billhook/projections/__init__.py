"""State computed from facts: pure, and blind to the order and repetition in which the facts came in.

Every function takes all facts known about one thing and puts them in one order itself: by the time they became true,
then by rank (what supersedes what at the same instant), then by content. So any shuffle of the same facts gives the
same state, and applying a fact is: add it to the set, compute again. Rows that are passed in beside the facts (the
refunds of a payment, the payments of an invoice) are projections themselves: one of each.
"""

from billhook.projections.invoice import (
    FOREIGN_CURRENCY,
    OVERPAID,
    PAID_AFTER_VOID,
    WRITTEN_OFF,
    project_credit_note,
    project_invoice,
)
from billhook.projections.party import project_customer, project_mandate
from billhook.projections.payment import (
    AMOUNT_MISMATCH,
    check_amount,
    project_dispute,
    project_payment,
    project_refund,
)
from billhook.projections.subscription import project_subscription

__all__ = [
    "AMOUNT_MISMATCH",
    "FOREIGN_CURRENCY",
    "OVERPAID",
    "PAID_AFTER_VOID",
    "WRITTEN_OFF",
    "check_amount",
    "project_credit_note",
    "project_customer",
    "project_dispute",
    "project_invoice",
    "project_mandate",
    "project_payment",
    "project_refund",
    "project_subscription",
]
