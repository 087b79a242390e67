"""AWS Budgets' own stop: a release undoes it and makes it ready again, whatever its state, however often it runs."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.loaders import create_loader
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from lambdas import ports, releasing, undoing
from lambdas.aws.budget_action import BudgetAction
from lambdas.core.budget_action import Execution, next_execution
from lambdas.core.errors import AwsCallError, UnfinishedError
from tests.conftest import ACCOUNT
from tests.fakes import refused
from tests.unit.test_stopping import World

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
MODEL = create_loader().load_service_model("budgets", "service-2")["shapes"]
STATUSES: list[str] = MODEL["ActionStatus"]["enum"]
DONE = {
    "EXECUTION_IN_PROGRESS": "EXECUTION_SUCCESS",
    "REVERSE_IN_PROGRESS": "REVERSE_SUCCESS",
    "RESET_IN_PROGRESS": "STANDBY",
    "PENDING": "EXECUTION_IN_PROGRESS",
}
MAY_REVERSE = {"EXECUTION_SUCCESS", "EXECUTION_FAILURE", "REVERSE_FAILURE"}
MAY_RESET = {"REVERSE_SUCCESS", "RESET_FAILURE"}


@dataclass
class FakeNativeStop:
    """The action as AWS Budgets has it: what it is asked for it does a few looks later."""

    now: str = "STANDBY"
    slow: int = 1
    """For so many looks something is in progress."""
    refuses: bool = False
    asked: list[str] = field(default_factory=list)
    looks: int = 0
    denied: tuple[str, ...] = ()

    def status(self) -> str:
        if self.refuses:
            raise refused("budgets:DescribeBudgetAction")
        self.looks += 1
        if self.now in DONE and self.looks > self.slow:
            self.now, self.looks = DONE[self.now], 0
        return self.now

    def execute(self, execution: Execution) -> None:
        allowed = MAY_REVERSE if execution is Execution.REVERSE else MAY_RESET
        if self.now not in allowed:
            raise refused("budgets:ExecuteBudgetAction", "ResourceLockedException")
        self.asked.append(execution.name)
        self.now, self.looks = ("REVERSE_IN_PROGRESS" if execution is Execution.REVERSE else "RESET_IN_PROGRESS"), 0

    def holders(self) -> frozenset[str]:
        return frozenset(self.denied)


def release(native: FakeNativeStop, *, account: bool = True) -> ports.Outcome:
    tools = World().release_desk.tools
    return undoing.release(replace(tools, native=native), account=account)


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        ("STANDBY", []),
        ("EXECUTION_SUCCESS", ["REVERSE", "RESET"]),
        ("EXECUTION_FAILURE", ["REVERSE", "RESET"]),
        ("EXECUTION_IN_PROGRESS", ["REVERSE", "RESET"]),
        ("REVERSE_IN_PROGRESS", ["RESET"]),
        ("REVERSE_SUCCESS", ["RESET"]),
        ("REVERSE_FAILURE", ["REVERSE", "RESET"]),
        ("RESET_IN_PROGRESS", []),
        ("RESET_FAILURE", ["RESET"]),
    ],
)
def test_a_release_undoes_it_and_makes_it_ready_again(status: str, asked: list[str]):
    native = FakeNativeStop(status, slow=0)
    outcome = release(native)
    assert (native.now, native.asked, outcome.failed) == ("STANDBY", asked, {})
    assert len(outcome.done) == len(asked)


@given(st.sampled_from(STATUSES), st.integers(0, 12))
def test_from_any_status_it_is_ready_after_some_releases_and_then_left_alone(status: str, slow: int):
    native = FakeNativeStop(status, slow)
    for _ in range(12):
        release(native)
    assert native.now == "STANDBY"
    asked = list(native.asked)
    assert asked == [each for each in ("REVERSE", "RESET") if each in asked]
    assert release(native).failed == {}
    assert native.asked == asked


def test_what_takes_longer_is_gone_on_with_and_said():
    native = FakeNativeStop("EXECUTION_SUCCESS", slow=100)
    outcome = release(native)
    assert "REVERSE_IN_PROGRESS, not yet STANDBY" in outcome.failed["AWS Budgets' own stop"]
    assert outcome.words() == ("take off what AWS Budgets attached by itself",)


def test_whoever_is_still_denied_though_the_action_is_ready_is_named_with_the_remedy():
    # As may be after a new period has reset the action: AWS says nowhere that it takes the policy off then.
    outcome = release(FakeNativeStop("STANDBY", denied=("role/agent", "group/makers")))
    assert list(outcome.failed) == ["AWS Budgets' deny on group/makers", "AWS Budgets' deny on role/agent"]
    assert "aws iam detach-role-policy --role-name agent" in outcome.failed["AWS Budgets' deny on role/agent"]


def test_what_cannot_be_asked_is_not_released():
    world = World()
    desk = world.release_desk
    tools = replace(desk.tools, native=FakeNativeStop(refuses=True))
    with pytest.raises(UnfinishedError, match="how its own stop stands"):
        releasing.carry_out({"confirm": "RELEASE", "reason": "fixed"}, replace(desk, tools=tools), NOW)
    assert not world.ledger.done


def test_a_status_nobody_knows_yet_is_no_release():
    assert next_execution("PAUSED") is None
    assert release(FakeNativeStop("PAUSED")).failed


def test_to_release_one_principal_leaves_it_alone():
    native = FakeNativeStop("EXECUTION_SUCCESS")
    release(native, account=False)
    assert native.asked == []


# --- the calls ---------------------------------------------------------------------------------------------------

ACTION_ID = "a3b1c2d4-0000-1111-2222-333344445555"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/bedrock-spend/bedrock-spend-budget-stop"
NAMED = {"AccountId": ACCOUNT, "BudgetName": "month", "ActionId": ACTION_ID}


@pytest.fixture
def stubbed() -> Any:
    client = boto3.client("budgets", region_name="us-east-1")
    with Stubber(client) as stub:
        yield stub, action(client, boto3.client("iam"))
        stub.assert_no_pending_responses()


def action(client: Any, iam: Any) -> BudgetAction:
    return BudgetAction(client, iam, account_id=ACCOUNT, budget_name="month", action_id=ACTION_ID, policy_arn=POLICY)


def test_the_policy_is_looked_for_on_everybody_it_may_be_on():
    iam = boto3.client("iam")
    asked = {"PolicyArn": POLICY, "PolicyUsageFilter": "PermissionsPolicy"}
    with Stubber(iam) as stub:
        named = {"PolicyRoles": [{"RoleName": "agent"}], "PolicyUsers": [{"UserName": "ci"}]}
        stub.add_response("list_entities_for_policy", {**named, "PolicyGroups": [{"GroupName": "makers"}]}, asked)
        assert action(None, iam).holders() == {"role/agent", "user/ci", "group/makers"}
        stub.add_client_error("list_entities_for_policy", "NoSuchEntity")
        assert action(None, iam).holders() == frozenset()
        stub.add_client_error("list_entities_for_policy", "AccessDenied")
        with pytest.raises(AwsCallError):
            action(None, iam).holders()


def described(status: str) -> dict[str, Any]:
    return {
        "AccountId": ACCOUNT,
        "BudgetName": "month",
        "Action": {
            "ActionId": ACTION_ID,
            "BudgetName": "month",
            "NotificationType": "ACTUAL",
            "ActionType": "APPLY_IAM_POLICY",
            "ActionThreshold": {"ActionThresholdValue": 100.0, "ActionThresholdType": "PERCENTAGE"},
            "Definition": {
                "IamActionDefinition": {"PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/x/y", "Roles": ["agent"]}
            },
            "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/x/budgets",
            "ApprovalModel": "AUTOMATIC",
            "Status": status,
            "Subscribers": [{"SubscriptionType": "SNS", "Address": f"arn:aws:sns:us-east-1:{ACCOUNT}:x"}],
        },
    }


def test_the_action_is_asked_and_told_by_name(stubbed: Any):
    stub, action = stubbed
    stub.add_response("describe_budget_action", described("EXECUTION_SUCCESS"), NAMED)
    for each in Execution:
        answer = {**NAMED, "ExecutionType": each.value}
        stub.add_response("execute_budget_action", answer, {**NAMED, "ExecutionType": each.value})
    assert action.status() == "EXECUTION_SUCCESS"
    for each in Execution:
        action.execute(each)


def test_a_refusal_says_what_was_refused(stubbed: Any):
    stub, action = stubbed
    stub.add_client_error("execute_budget_action", "ResourceLockedException")
    with pytest.raises(AwsCallError, match="budgets:ExecuteBudgetAction: ResourceLockedException"):
        action.execute(Execution.RESET)
