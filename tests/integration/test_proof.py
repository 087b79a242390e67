"""The proof of a stop in an account on moto, its policies simulated by an evaluator the project did not write."""

import boto3
import pytest

from lambdas.aws.simulator import Simulator
from lambdas.core.levels import Level
from lambdas.core.principals import Principal
from lambdas.core.proof import Proof, prove, sample
from lambdas.wiring import Wiring
from tests.conftest import event
from tests.fakes import BRAKE, SWEEP
from tests.integration.world import Account


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    account = Account(monkeypatch)
    account.people()
    account.install()
    account.run("arm", event("scheduled.json"))
    return account


def proved(level: Level) -> tuple[list[Principal], Proof]:
    wiring = Wiring()
    armed, swept = (wiring.brake.holders(each) for each in (BRAKE, SWEEP))
    chosen = sample(wiring.account.principals(), armed, swept)
    return chosen, prove(level, chosen, Simulator(boto3.client("iam")).denied)


def test_after_a_kill_everybody_who_is_reached_is_denied(account: Account):
    account.run("kill", {})
    chosen, found = proved(Level.STOP)
    assert {each.name for each in chosen} == {"agent", "admin", "dev", "root-like"}
    assert found == Proof(4, 4)


def test_before_a_stop_the_armed_are_not_denied_which_is_told(account: Account):
    chosen, found = proved(Level.STOP)
    assert {each.name for each in chosen} == {"agent", "dev"}
    assert set(found.still_allowed) == {each.arn for each in chosen}
    assert "bedrock:InvokeModel is not denied" in found.still_allowed[chosen[0].arn]


def test_a_policy_that_somebody_detached_is_found(account: Account):
    account.run("kill", {})
    chosen, _ = proved(Level.STOP)
    boto3.client("iam").detach_role_policy(RoleName="agent", PolicyArn=BRAKE)
    found = prove(Level.STOP, chosen, Simulator(boto3.client("iam")).denied)
    assert [arn.rpartition("/")[2] for arn in found.still_allowed] == ["agent"]


def test_an_exempt_role_is_not_denied_although_the_policy_hangs_on_it(account: Account):
    account.run("kill", {})
    boto3.client("iam").attach_role_policy(RoleName="break-glass", PolicyArn=SWEEP)
    chosen, found = proved(Level.STOP)
    assert "break-glass" in {each.name for each in chosen}
    assert [arn.rpartition("/")[2] for arn in found.still_allowed] == ["break-glass"]


def test_a_principal_that_is_gone_is_unknown(account: Account):
    account.run("kill", {})
    chosen, _ = proved(Level.STOP)
    iam = boto3.client("iam")
    iam.delete_user_policy(UserName="dev", PolicyName="work")
    iam.detach_user_policy(UserName="dev", PolicyArn=BRAKE)
    iam.delete_user(UserName="dev")
    found = prove(Level.STOP, chosen, Simulator(iam).denied)
    assert [arn.rpartition("/")[2] for arn in found.unknown] == ["dev"]
