"""The doctor, on an account in moto: before a guardrail is deployed, and after."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import ACCOUNT, event
from tests.integration.test_cli import as_json, deployed, type_in
from tests.integration.test_functions import refuse, spend
from tests.integration.world import TRUST, Account, allow, always

ROOT = Path(__file__).parents[2]
ADMIN = "AWSReservedSSO_Admin_0123456789abcdef"
OURS = {
    "BudgetName": "bedrock-spend-monthly",
    "BudgetType": "COST",
    "TimeUnit": "MONTHLY",
    "BudgetLimit": {"Amount": "500", "Unit": "USD"},
    "FilterExpression": {
        "And": [
            {
                "Or": [
                    {"Dimensions": {"Key": "SERVICE", "Values": ["Amazon Bedrock"]}},
                    {"Dimensions": {"Key": "BILLING_ENTITY", "Values": ["AWS Marketplace"]}},
                ]
            },
            {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}},
        ]
    },
}


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.people()
    monkeypatch.setattr(boto3, "setup_default_session", lambda **_: None)
    found.answers |= {
        "lambda:GetFunctionConfiguration": refuse("ResourceNotFoundException"),
        "lambda:GetAccountSettings": always(
            {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}}
        ),
        "budgets:DescribeBudgets": always({"Budgets": [OURS]}),
        "ce:GetAnomalyMonitors": always({"AnomalyMonitors": []}),
        "servicequotas:GetAutoManagementConfiguration": refuse("NoSuchResourceException"),
        "cloudtrail:DescribeTrails": always(
            {"trailList": [{"Name": "all", "TrailARN": "arn:trail", "HomeRegion": "us-east-1"}]}
        ),
        "cloudtrail:GetTrailStatus": always({"IsLogging": True}),
        "cloudtrail:GetEventSelectors": always({"EventSelectors": [{"ReadWriteType": "All"}]}),
    }
    return found


@pytest.fixture
def toml(tmp_path: Path) -> str:
    file = tmp_path / "guardrail.toml"
    text = (ROOT / "guardrail.toml").read_text(encoding="utf-8")
    text = text.replace("emails = []", 'emails = ["ops@example.com"]', 1)
    file.write_text(text.replace("principals = []", 'principals = ["role/break-glass"]', 1), encoding="utf-8")
    return str(file)


def examined(toml: str) -> tuple[dict[str, list[Any]], int]:
    """Return the findings by topic, and the exit code."""
    answer, code = as_json("doctor", "--config", toml)
    found: dict[str, list[Any]] = {}
    for each in answer["findings"]:
        found.setdefault(each["topic"], []).append(each)
    return found, code


def marks(found: dict[str, list[Any]]) -> dict[str, set[str]]:
    return {topic: {each["mark"] for each in some} for topic, some in found.items()}


def test_a_sound_account_before_deploying(account: Account, toml: str):
    found, code = examined(toml)
    assert code == 0, found
    assert all(each == {"ok"} for each in marks(found).values()), found
    words = {topic: [each["words"] for each in some] for topic, some in found.items()}
    assert words["credentials"][0].startswith(f"account {ACCOUNT}, as ")
    assert words["deployment"] == ["not deployed to us-east-1 yet"]
    assert words["can spend"] == ["5 roles and users: 3 by name, 2 through a wildcard; 1 of them exempt"]
    assert words["arming"] == ["0 are armed, 2 more can be; a stop sweeps the others"]
    assert words["IAM quotas"] == ["10 policies a role, 10 a user"]
    assert words["budgets"] == ["bedrock-spend-monthly ($500, monthly) sees Bedrock and AWS Marketplace"]
    assert words["marketplace"] == [
        "of the models offered here, those of anthropic, openai bill through AWS Marketplace",
        "of the models offered here, those of amazon, xai bill as Amazon Bedrock",
    ]


def test_it_touches_nothing(account: Account, toml: str):
    account.running = "doctor"
    examined(toml)
    account.running = ""
    verbs = {each.partition(":")[2] for each in account.calls["doctor"]}
    assert verbs
    assert all(each.startswith(("Get", "List", "Describe", "View")) for each in verbs), verbs


def test_whoever_nothing_would_stop_is_bad_and_named_with_the_remedy(account: Account, toml: str):
    iam = boto3.client("iam")
    iam.create_role(RoleName="crowded", AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName="crowded", PolicyName="w", PolicyDocument=allow("bedrock:InvokeModel"))
    for number in range(20):
        arn = iam.create_policy(PolicyName=f"p{number}", PolicyDocument=allow("s3:GetObject"))["Policy"]["Arn"]
        iam.attach_role_policy(RoleName="crowded", PolicyArn=arn)
    iam.create_role(RoleName=ADMIN, Path="/aws-reserved/sso.amazonaws.com/", AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName=ADMIN, PolicyName="w", PolicyDocument=allow("*"))
    found, code = examined(toml)
    assert code == 1
    (crowded,), (center,) = found["no free slot"], found["identity center"]
    assert (crowded["mark"], center["mark"]) == ("bad", "bad")
    assert "role/crowded" in crowded["words"]
    assert "quota" in crowded["todo"]
    assert "permission set Admin" in center["words"]
    assert "attach-customer-managed-policy-reference-to-permission-set" in center["todo"]


def test_a_region_in_use_that_is_not_listed_is_found_and_whose_models_bill_where(account: Account, toml: str):
    dimensions: list[Any] = [{"Name": "ModelId", "Value": "us.anthropic.claude-opus-5-5"}]
    data: list[Any] = [{"MetricName": "InputTokenCount", "Dimensions": dimensions, "Value": 5.0}]
    boto3.client("cloudwatch", region_name="eu-west-3").put_metric_data(Namespace="AWS/Bedrock", MetricData=data)
    spend(1)
    found, code = examined(toml)
    assert code == 0
    used = {each["words"].partition(":")[0]: each for each in found["regions"]}
    assert used["us-east-1"]["mark"] == "ok"
    assert used["eu-west-3"]["mark"] == "warn"
    assert 'add "eu-west-3" to regions' in used["eu-west-3"]["todo"]
    assert {each["words"].partition(":")[0] for each in found["logging"]} == {"us-east-1", "eu-west-3"}
    assert [each["words"] for each in found["marketplace"]] == [
        "of the models in use, those of anthropic bill through AWS Marketplace",
        "of the models in use, those of amazon bill as Amazon Bedrock",
    ]


@pytest.mark.parametrize(
    ("action", "topic"),
    [
        ("iam:GetAccountAuthorizationDetails", "can spend"),
        ("iam:GetAccountSummary", "IAM quotas"),
        ("iam:ListServiceSpecificCredentials", "API keys"),
        ("ec2:DescribeRegions", "regions"),
        ("cloudwatch:ListMetrics", "regions"),
        ("bedrock:GetModelInvocationLoggingConfiguration", "logging"),
        ("bedrock:ListFoundationModels", "marketplace"),
        ("bedrock:ListFoundationModelAgreementOffers", "marketplace"),
        ("budgets:DescribeBudgets", "budgets"),
        ("ce:GetAnomalyMonitors", "anomalies"),
        ("lambda:GetAccountSettings", "concurrency"),
        ("cloudtrail:DescribeTrails", "CloudTrail"),
        ("cloudtrail:GetTrailStatus", "CloudTrail"),
        ("servicequotas:GetAutoManagementConfiguration", "quotas"),
    ],
)
def test_what_may_not_be_read_is_unknown_and_never_ok(account: Account, toml: str, action: str, topic: str):
    account.answers[action] = refuse("AccessDenied")
    found, code = examined(toml)
    assert code == 1
    unknown = [each for each in found[topic] if each["mark"] == "unknown"]
    assert unknown
    assert "AccessDenied" in json.dumps(unknown)
    others = {other: seen for other, seen in marks(found).items() if other != topic}
    assert all("unknown" not in seen for seen in others.values())


def test_a_mistake_in_the_file_is_told_before_aws_is_asked(account: Account, tmp_path: Path):
    file = tmp_path / "guardrail.toml"
    file.write_text('mode = "enforce"\n[limits]\nday = 0\n', encoding="utf-8")
    found, code = examined(str(file))
    assert code == 1
    assert set(found) == {"guardrail.toml"}
    assert any("limits.day = 0" in each["words"] for each in found["guardrail.toml"])


def test_once_deployed_it_tells_how_the_guardrail_stands(account: Account, toml: str):
    account.install()
    account.run("arm", event("scheduled.json"))
    account.answers["lambda:GetFunctionConfiguration"] = deployed(account, "us-east-1")
    found, code = examined(toml)
    first, *others = found["deployment"]
    assert first["words"].startswith("us-east-1: Bedrock may be used. 2 armed")
    assert [(each["mark"], each["words"].partition(":")[0]) for each in others] == [
        ("warn", "the meter"),
        ("warn", "the file says otherwise than what is deployed"),
    ]
    assert found["arming"][0]["words"].startswith("2 are armed, 0 more")
    assert marks(found)["self-watch"] == {"unknown"}
    assert code == 1


def test_people_read_a_line_a_finding_and_what_to_do(account: Account, toml: str):
    account.answers["servicequotas:GetAutoManagementConfiguration"] = always(
        {"OptInStatus": "ENABLED", "OptInType": "NotifyAndAdjust"}
    )
    result = type_in("doctor", "--config", toml)
    assert result.exit_code == 0
    assert "Service Quotas raises quotas by itself" in " ".join(result.stdout.split())
    assert result.stdout.splitlines()[-1].startswith("1 to look at, ")
