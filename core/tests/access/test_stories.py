"""Stories of many steps, one file each: accounts live through months, and every decision on the way is expected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from billhook.access import Account, Timeline
from billhook.access.scenario import Scenario, check, load, scenario_files

FILES = scenario_files(Path(__file__).parent / "stories")
STORIES = {path.stem: load(path) for path in FILES}


def _shuffled(account: Account) -> Account:
    """Return the account with its facts the other way round and twice over; those of one instant keep their order."""
    instants = sorted({fact.at for fact in account.facts}, reverse=True)
    facts = tuple(fact for at in instants for fact in account.facts if fact.at == at)
    return replace(account, facts=facts + facts)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_story_comes_out_as_told(story: Scenario) -> None:
    wrong = {each.name: each.differences for each in check(story) if not each.passed}
    assert wrong == {}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_story_comes_out_the_same_when_its_facts_arrive_in_another_order_and_twice(story: Scenario) -> None:
    shuffled = {name: _shuffled(account) for name, account in story.customers.items()}
    wrong = {
        each.name: each.differences for each in check(replace(story, customers=shuffled)) if not each.passed
    }
    assert wrong == {}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_one_timeline_asked_again_and_again_says_what_a_fresh_one_says(story: Scenario) -> None:
    timelines = {
        name: Timeline(account, story.policy, story.customers) for name, account in story.customers.items()
    }
    asked = [*story.expectations, *reversed(story.expectations)]
    for each in asked:
        fresh = Timeline(story.customers[each.customer], story.policy, story.customers)
        assert timelines[each.customer].decide(each.at) == fresh.decide(each.at)


def test_there_are_enough_stories_and_each_asks_for_something() -> None:
    assert len(STORIES) >= 34
    assert all(story.expectations for story in STORIES.values())
