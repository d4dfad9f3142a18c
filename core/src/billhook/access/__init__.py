"""Access states: may this customer use the product at an instant, why, since when and until when.

Pure: dated facts and a policy go in, a decision comes out; no clock is read and nothing is called.
"""

from __future__ import annotations

from billhook.access.decision import Decision, Next, Reason, SubscriptionDecision
from billhook.access.evaluate import Timeline, decide, decide_many, transitions
from billhook.access.fact_json import FACT_TYPES, fact_to_json, facts_to_json, parse_facts, type_of
from billhook.access.facts import AccessFact, Account
from billhook.access.policy_json import parse_policy, policy_to_json
from billhook.access.problem import FactsInvalid, PolicyInvalid, Problem
from billhook.access.rules import CLEAR, Access, Policy, Rule, When

__all__ = [
    "CLEAR",
    "FACT_TYPES",
    "Access",
    "AccessFact",
    "Account",
    "Decision",
    "FactsInvalid",
    "Next",
    "Policy",
    "PolicyInvalid",
    "Problem",
    "Reason",
    "Rule",
    "SubscriptionDecision",
    "Timeline",
    "When",
    "decide",
    "decide_many",
    "fact_to_json",
    "facts_to_json",
    "parse_facts",
    "parse_policy",
    "policy_to_json",
    "transitions",
    "type_of",
]
