"""Invariant 3: no single AWS call that fails leaves a stop, a release, arming or an update half done, or unsaid.

Every write and some reads here, each failing in one way; ``python -m bench.crash`` tries every call in four.
"""

import pytest

from tests.integration.crashes import FLOWS, Flow, How, prepared

NAMES = ("detach stop", "narrow stop of a role", "narrow stop of a model", "arm", "detach release", "stack update")
"""What the other flows do is in these."""
WAYS = (How.BEFORE, How.TIMED_OUT)
EVERY_READ = 25


@pytest.mark.parametrize("flow", [each for each in FLOWS if each.name in NAMES], ids=lambda each: each.name)
def test_whatever_call_fails_the_next_run_makes_it_whole_and_somebody_was_told(flow: Flow):
    with prepared(flow) as sweep:
        calls = sweep.chosen(every_read=EVERY_READ)
        ended = [sweep.fail(call, WAYS[number % len(WAYS)]) for number, call in enumerate(calls)]
    assert any(call.writes for call in calls)
    assert [str(each) for each in ended if each.silent or not each.converged] == []


def test_the_sweep_notices_a_run_that_ends_otherwise_and_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch):
    def unsaid(world):
        world.run("kill", {})
        world.account.running = ""
        return type("Told", (), {"loud": False})

    flow = Flow("nobody goes on", unsaid, then=lambda _: None)
    with prepared(flow) as sweep:
        sweeping = next(each for each in sweep.calls if each.action == "iam:AttachRolePolicy")
        monkeypatch.setattr("tests.integration.crashes._topic", lambda _: type("Topic", (), {"sent_notifications": []}))
        ended = sweep.fail(sweeping, How.BEFORE)
    assert ended.silent
    assert not ended.converged
    assert ended.differs.startswith("role/admin: ")
