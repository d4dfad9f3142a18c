"""Access, tried out: a policy, facts and instants go in, decisions come out. Nothing is stored."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response, jsonify
from marshmallow import fields

from billhook_web.api.access_documents import (
    LARGEST_DOCUMENT,
    Document,
    answered_problems,
    facts_field,
    instants_field,
    policy_field,
    warnings_of,
)
from billhook_web.api.access_schemas import SimulatedSchema
from billhook_web.api.host import needs
from billhook_web.api.parsing import Blueprint
from billhook_web.services.simulating import MOST_DECISIONS, MOST_FACTS, MOST_INSTANTS, read_simulation

blueprint = Blueprint("access-simulations", __name__, description="Access, tried out.")


class SimulatedCustomer(ma.Schema):
    """A customer of a simulation."""

    id = fields.String(required=True, metadata={"description": "what the others name it by"})
    timezone = fields.String(metadata={"description": "IANA; left out: that of the call"})
    facts = facts_field()


class SimulationInput(Document):
    """What would be decided?"""

    policy = policy_field(required=True)
    timezone = fields.String(metadata={"description": "IANA, in which days are counted; left out: UTC"})
    customers = fields.List(fields.Nested(SimulatedCustomer), required=True)
    at = instants_field(MOST_INSTANTS)


@blueprint.route("/access/simulations", methods=["POST"])
@needs("access:read", largest=LARGEST_DOCUMENT)
@blueprint.arguments(SimulationInput)
@blueprint.response(200, SimulatedSchema)
def simulate_access(said: dict[str, Any]) -> Response:
    """Decide about made-up facts by a made-up policy, at any instants; customer by customer, in the order asked."""
    with answered_problems():
        simulation = read_simulation(said)
    return jsonify(
        decisions=[decision.to_json() for decision in simulation.decisions()],
        warnings=warnings_of(simulation.warnings),
    )


simulate_access.__doc__ = (
    f"{simulate_access.__doc__}\n\nAt most {MOST_FACTS:,} facts, {MOST_INSTANTS:,} instants and "
    f"{MOST_DECISIONS:,} decisions a call."
)
