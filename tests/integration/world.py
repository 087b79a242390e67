"""An account in moto with the guardrail deployed, and a record of every AWS call its functions make."""

import importlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import boto3
import pytest
from moto.sns.models import sns_backends

from lambdas.core.brake_documents import DocumentSettings, documents
from lambdas.core.limits import Ladder, Limit
from lambdas.core.prices import PriceTable
from lambdas.core.windows import Window
from lambdas.settings import Settings
from tests.conftest import ACCOUNT
from tests.fakes import BRAKE, SWEEP

ROOT = Path(__file__).parent.parent.parent
FUNCTIONS = ("install", "arm", "meter", "stop", "kill", "release", "status")
BUDGET = "bedrock-spend-monthly"
LEDGER = "ledger"

_IAM_NAMES = {"lambda:Invoke": "lambda:InvokeFunction", "budgets:DescribeBudget": "budgets:ViewBudget"}
"""Where IAM calls an operation by another name."""

LADDER = Ladder(Decimal(50), Decimal(80))
SETTINGS = Settings(
    prefix="bedrock-spend",
    enforce=True,
    regions=("us-east-1",),
    limits=(Limit(Window.DAY, Decimal(50), LADDER), Limit(Window.MINUTE, Decimal(500), LADDER)),
    budget=LADDER,
    reaction=timedelta(minutes=4),
    exempt=("role/break-glass",),
    external_anthropic=False,
)
DOCUMENTS = {
    str(level): json.dumps(document)
    for level, document in documents(DocumentSettings(SETTINGS.exempt), PriceTable.load()).items()
}
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}],
    }
)


def allow(*actions: str) -> str:
    """Return a policy document that allows actions on everything."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
        }
    )


@dataclass
class Account:
    """The account, seen from outside and through the functions."""

    monkeypatch: pytest.MonkeyPatch
    calls: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """IAM actions by the function that made the call."""
    answers: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    """What stands in for operations moto does not have, by ``service:Operation``; may raise."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Payloads of asynchronous invocations of the stop function."""
    jobs: list[dict[str, str]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    """What CloudFormation was told."""
    running: str = ""

    def __post_init__(self) -> None:
        self.monkeypatch.setattr("time.sleep", lambda _seconds: None)
        session = boto3.Session(region_name="us-east-1")
        session.events.register("before-call.*.*", self._on_call)
        self.monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
        self.answers |= {
            "bedrock:ListModelInvocationJobs": self._list_jobs,
            "bedrock:StopModelInvocationJob": self._stop_job,
            "lambda:InvokeFunction": self._invoked,
            "budgets:ViewBudget": lambda _: {"Budget": budget("10")},
        }
        self.environment = {
            "GUARDRAIL": SETTINGS.to_json(),
            "BRAKE_POLICY_ARN": BRAKE,
            "SWEEP_POLICY_ARN": SWEEP,
            "NOTICE_TOPIC_ARN": boto3.client("sns").create_topic(Name="notices")["TopicArn"],
            "LEDGER_TABLE": LEDGER,
            "BUDGET_NAME": BUDGET,
            "STOP_BY_HAND": "aws iam set-default-policy-version",
            "STOP_FUNCTION": "stop",
        }
        for name, value in self.environment.items():
            self.monkeypatch.setenv(name, value)
        boto3.client("dynamodb").create_table(
            TableName=LEDGER,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("pk", "sk")],
        )
        self.monkeypatch.setattr("lambdas.deployment.urllib.request.urlopen", self._tell)

    def _on_call(self, model: Any, params: dict[str, Any], **_: object) -> Any:
        name = f"{model.service_model.endpoint_prefix}:{model.name}".replace("monitoring:", "cloudwatch:")
        action = _IAM_NAMES.get(name, name)
        if self.running:
            self.calls[self.running].add(action)
        if action in self.answers:
            return SimpleNamespace(status_code=200), self.answers[action](params)
        return None

    def _list_jobs(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params["query_string"]["statusEquals"]
        return {"invocationJobSummaries": [each for each in self.jobs if each["status"] == wanted]}

    def _stop_job(self, params: dict[str, Any]) -> dict[str, Any]:
        self.jobs = [each for each in self.jobs if each["jobArn"].rpartition("/")[2] not in params["url_path"]]
        return {}

    def _invoked(self, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(json.loads(params["body"]))
        return {"StatusCode": 202}

    def _tell(self, request: Any, timeout: float) -> Any:
        del timeout
        self.told.append(json.loads(request.data))
        return Context()

    def run(self, name: str, event: Any) -> Any:
        """Invoke a function as Lambda does."""
        module = importlib.import_module(f"lambdas.handlers.{name}")
        if name == "meter":
            module._wiring.cache_clear()  # each run is a cold start, with the environment of its test
        handler = module.handler
        self.running = name
        try:
            return handler(event, Context())
        finally:
            self.running = ""

    def install(self, request: str = "Create", stored: dict[str, str] | None = None, **changes: str) -> dict[str, Any]:
        """Run the custom resource of the policies."""
        properties = {
            "BrakeArn": BRAKE,
            "SweepArn": SWEEP,
            "Owner": "guardrail in us-east-1",
            "Documents": stored or DOCUMENTS,
        } | changes
        event = {
            "RequestType": request,
            "ResponseURL": "https://cloudformation.example/answer",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "Policies",
            "ResourceProperties": properties,
        }
        if request != "Create":
            event |= {"PhysicalResourceId": "Policies", "OldResourceProperties": {"BrakeArn": BRAKE}}
        answer: dict[str, Any] = self.run("install", event)
        return answer

    def level(self, arn: str = BRAKE) -> str:
        """Return the level of a policy's default version, read as a person would."""
        iam = boto3.client("iam")
        default = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]["Document"]
        return next(level for level, text in DOCUMENTS.items() if json.loads(text) == document)

    def holders(self, arn: str) -> set[str]:
        """Return whom a policy is attached to."""
        found = boto3.client("iam").list_entities_for_policy(PolicyArn=arn)
        return {each["RoleName"] for each in found["PolicyRoles"]} | {each["UserName"] for each in found["PolicyUsers"]}

    def snapshot(self) -> dict[str, Any]:
        """Return all of IAM."""
        return dict(boto3.client("iam").get_account_authorization_details())

    def mails(self) -> list[str]:
        """Return the subjects that were published."""
        topic = sns_backends[ACCOUNT]["us-east-1"].topics[self.environment["NOTICE_TOPIC_ARN"]]
        return [str(each[2]) for each in topic.sent_notifications]

    def people(self) -> None:
        """Let an agent, a user, two admins, a break-glass role and a bystander move in."""
        iam = boto3.client("iam")
        for name, actions in {
            "agent": ["bedrock:InvokeModel"],
            "admin": ["*"],
            "break-glass": ["bedrock:*"],
            "bystander": ["s3:*"],
        }.items():
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
            iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=allow(*actions))
        iam.create_role(RoleName="meter", Path="/bedrock-spend/", AssumeRolePolicyDocument=TRUST)
        iam.put_role_policy(RoleName="meter", PolicyName="work", PolicyDocument=allow("bedrock:StopModelInvocationJob"))
        for name, actions in {"dev": ["bedrock:InvokeModel"], "root-like": ["*"]}.items():
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="work", PolicyDocument=allow(*actions))


class Context:
    """What Lambda passes beside the event; also a response that is closed after use."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:function"
    aws_request_id = "request"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def budget(actual: str) -> dict[str, Any]:
    """Return a budget as DescribeBudget gives it."""
    return {
        "BudgetName": BUDGET,
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": "500.0", "Unit": "USD"},
        "CalculatedSpend": {"ActualSpend": {"Amount": actual, "Unit": "USD"}},
    }
