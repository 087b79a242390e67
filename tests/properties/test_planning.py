"""A plan tells exactly what a kill then does and touches nothing: in random accounts, whatever happened before."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdas import planning, stopping
from lambdas.core.levels import Level
from lambdas.core.notice import StopReport
from lambdas.core.plan import Attach, Job, Join, Narrow, Step
from lambdas.core.principals import Capability, PrincipalKind
from lambdas.core.scopes import parse_scope
from lambdas.stopping import StopRequest
from tests.properties.test_account import AccountMachine
from tests.unit.test_stopping import World, person


def steps_of(report: StopReport, planned: planning.Planned) -> list[str]:
    """Return the steps in words, without those that the plan itself calls doubtful."""
    doubtful = set(planned.doubtful)

    def is_certain(step: Step) -> bool:
        return not (isinstance(step, Attach | Join) and step.holder in doubtful)

    return sorted(str(each) for each in report.steps if is_certain(each))


@dataclass
class _Seen:
    """All that a kill may change."""

    machine: AccountMachine

    def now(self) -> str:
        iam, ledger = self.machine.iam, self.machine.ledger
        policies = {
            arn: [(each.version_id, each.is_default) for each in found] for arn, found in iam.ours.policies.items()
        }
        held = {holder: arns for holder, arns in sorted(iam.held.items()) if arns}
        members = {arn: sorted(who) for arn, who in iam.members.items()}
        return repr((policies, held, members, self.machine.lever.things, ledger.book, ledger.records, ledger.narrow))


class PlanningMachine(AccountMachine):
    """Whoever kills has the plan shown first."""

    def _kill(self, request: StopRequest, fault: tuple[int, str] | None) -> None:
        before = _Seen(self).now()
        planned = planning.plan(request.scope, self._desk().tools)
        assert _Seen(self).now() == before
        assert planned.report.failed == {}
        if fault is not None:
            super()._kill(request, fault)
            return
        with self._failing(None):
            done = stopping.kill(request, self._desk(), self.now).report
        assert done is not None
        unwritten = [f"deny {each}" for each in done.alone if each in done.uncovered]
        expected = [each for each in steps_of(planned.report, planned) if each not in unwritten]
        assert steps_of(done, planned) == expected
        sure = planned.report.uncovered.keys()
        assert sure <= done.uncovered.keys()
        assert {*done.uncovered} - sure <= {*planned.doubtful, *done.alone}


TestPlanning = PlanningMachine.TestCase
TestPlanning.settings = settings(
    max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)

NAMES = st.sampled_from([f"p{number}" for number in range(6)])
WORLDS: dict[str, st.SearchStrategy[Any]] = {
    "people": st.dictionaries(NAMES, st.tuples(st.sampled_from(Capability), st.sampled_from(["role", "user"]))),
    "armed": st.sets(NAMES),
    "swept": st.sets(NAMES),
    "level": st.sampled_from(Level),
    "jobs": st.sets(st.sampled_from(["a", "b", "c"])),
    "things": st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 9)),
    "scope": st.sampled_from([None, None, "role/p1", "user/p2", "model:amazon.nova*"]),
}


@given(**WORLDS)
def test_a_plan_is_what_a_kill_then_does(people, armed, swept, level, jobs, things, scope):
    world = World()
    world.people.everybody = [person(name, can, PrincipalKind(kind)) for name, (can, kind) in people.items()]
    holders = {name: f"{kind}/{name}" for name, (_, kind) in people.items()}
    world.brake.armed = {holders[each] for each in armed if each in holders}
    world.brake.swept = {holders[each] for each in swept if each in holders} - world.brake.armed
    world.brake.level = world.brake.sweep_level = level
    world.work.jobs["us-east-1"] = [Job("us-east-1", f"arn:{each}", each) for each in sorted(jobs)]
    world.lever.things = dict(things)
    asked = None if scope is None else parse_scope(scope)
    planned = planning.plan(asked, world.tools)
    now = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
    request = StopRequest(Level.STOP if asked is None else Level.RELEASED, "killed", now, by="person", scope=asked)
    done = stopping.kill(request, world.desk, now).report
    assert done is not None
    assert planned.report.steps == done.steps
    assert planned.report.uncovered == done.uncovered
    assert not any(isinstance(each, Narrow) for each in done.steps) or scope == "model:amazon.nova*"
