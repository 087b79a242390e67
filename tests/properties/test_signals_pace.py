"""Whatever becomes of a stop that is kept on: who is out of reach is told at once, nothing twice within the pace."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.levels import Level
from lambdas.core.principals import Capability
from lambdas.stopping import StopRequest
from tests.fakes import moment
from tests.unit.test_stopping import World, person

NOW = moment("12:00")
NAMES = ("ann", "bob", "cid")


@given(st.lists(st.frozensets(st.sampled_from(NAMES)), max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_whoever_comes_out_of_reach_is_in_a_mail_of_that_minute(minutes: list[frozenset[str]], undone: list[bool]):
    world = World()
    world.stop(NOW)
    world.people.everybody = [*world.people.everybody, *(person(each, Capability.WILDCARD) for each in NAMES)]
    told: set[str] = set()
    for number, (full, again) in enumerate(zip(minutes, undone, strict=False), start=1):
        world.brake.refuses = {f"sweep role/{each}": "LimitExceeded" for each in full}
        if again:
            world.brake.swept.clear()
        else:
            world.brake.swept -= {f"role/{each}" for each in full}
        before = len(world.post.sent)
        at = NOW + timedelta(minutes=number)
        world.stop(at, StopRequest(Level.STOP, "kept on", at, reassert=True))
        mails = world.post.sent[before:]
        new = full - told
        assert all(f"role/{each}" in mails[-1].text for each in new)
        told |= full


@given(st.lists(st.booleans(), min_size=1, max_size=59))
def test_what_is_undone_again_and_again_is_mailed_once_an_hour(undone: list[bool]):
    world = World()
    world.stop(NOW)
    for minute, again in enumerate(undone, start=1):
        if again:
            world.brake.swept.clear()
        at = NOW + timedelta(minutes=minute)
        world.stop(at, StopRequest(Level.STOP, "kept on", at, reassert=True))
    assert len(world.post.sent) == 1
