"""An account in moto with the guardrail deployed, and a record of every AWS call its functions make."""

import importlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.cloudwatch.models import CloudWatchBackend
from moto.sns.models import sns_backends

from lambdas.aws.work import action_of
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import level_of
from lambdas.core.limits import Ladder, Limit
from lambdas.core.windows import Window
from lambdas.core.work import IRREVERSIBLE, Choice
from lambdas.handlers import inline, install
from lambdas.settings import Settings
from tests.conftest import ACCOUNT, event
from tests.fakes import BRAKE, DENY, SWEEP
from tests.integration.shared_events import SharedEvents
from tests.integration.simulated import simulate
from tests.integration.throttles import Throttles
from tests.shapes import everything_runs, nothing_runs

ROOT = Path(__file__).parent.parent.parent
FUNCTIONS = (
    "install",
    "arm",
    "meter",
    "stop",
    "kill",
    "release",
    "status",
    "crosscheck",
    "digest",
    "inventory",
    "prices",
    "disarm",
    "watch",
    "share",
    "drill",
)
BUDGET = "bedrock-spend-monthly"
MONITOR = f"arn:aws:ce::{ACCOUNT}:anomalymonitor/abcdef12-1234-4ea0-84cc-918a97d736ef"
LEDGER = "ledger"

_IAM_NAMES = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "bedrock-runtime:CountTokens": "bedrock:CountTokens",
    "tagging:GetResources": "tag:GetResources",
    "budgets:DescribeBudget": "budgets:ViewBudget",
    "email:SendEmail": "ses:SendEmail",
    "budgets:DescribeBudgetPerformanceHistory": "budgets:ViewBudget",
    "budgets:DescribeNotificationsForBudget": "budgets:ViewBudget",
    "budgets:DescribeSubscribersForNotification": "budgets:ViewBudget",
    "api.pricing:GetProducts": "pricing:GetProducts",
    "api.sagemaker:ListTags": "sagemaker:ListTags",
}
"""Where IAM calls an operation by another name."""

_VIA = {
    "bedrock:GetMarketplaceModelEndpoint": ("sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig"),
    "bedrock:DeleteMarketplaceModelEndpoint": ("sagemaker:DeleteEndpoint",),
}
"""What IAM asks for on top, because Bedrock calls another service in the caller's name."""

_MADE = datetime(2026, 11, 1, tzinfo=UTC)
_ENDPOINT = {
    "endpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e",
    "endpointStatus": "InService",
    "endpointConfig": {"sageMaker": {"initialInstanceCount": 1, "instanceType": "ml.g5.2xlarge"}},
    "createdAt": _MADE,
}
_IMPORTED = {"modelArn": f"arn:aws:bedrock:us-east-1:{ACCOUNT}:imported-model/m", "modelName": "m"}
STOCK: dict[str, dict[str, Any]] = {
    "ec2:DescribeRegions": {"Regions": [{"RegionName": "us-east-1"}, {"RegionName": "eu-west-3"}]},
    "bedrock:ListInferenceProfiles": {"inferenceProfileSummaries": []},
    "bedrock:ListProvisionedModelThroughputs": {"provisionedModelSummaries": []},
    "bedrock:ListCustomModelDeployments": {
        "modelDeploymentSummaries": [
            {
                "customModelDeploymentArn": f"arn:aws:bedrock:us-east-1:{ACCOUNT}:custom-model-deployment/d",
                "customModelDeploymentName": "d",
                "modelArn": "arn",
                "status": "Active",
                "createdAt": _MADE,
            }
        ]
    },
    "bedrock:ListCustomModels": {"modelSummaries": []},
    "bedrock:ListMarketplaceModelEndpoints": {"marketplaceModelEndpoints": [_ENDPOINT]},
    "bedrock:GetMarketplaceModelEndpoint": {"marketplaceModelEndpoint": _ENDPOINT},
    "bedrock:ListModelCustomizationJobs": {"modelCustomizationJobSummaries": []},
    "bedrock:ListEvaluationJobs": {"jobSummaries": []},
    "bedrock:ListImportedModels": {"modelSummaries": [_IMPORTED]},
    "bedrock:GetImportedModel": {"customModelUnits": {"customModelUnitsPerModelCopy": 1}},
}
"""What is in Bedrock, as its control plane lists it: something of each kind that takes a second call."""

PARTS: dict[str, dict[str, Any]] = {
    "cloudformation:ListStackResources": {"StackResourceSummaries": []},
    "lambda:GetAccountSettings": {
        "AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}
    },
    "servicequotas:GetAutoManagementConfiguration": {"OptInStatus": "DISABLED"},
}
"""What the guardrail consists of and the account's quotas, where moto knows nothing of them."""

OFFERS = {
    "anthropic.claude-opus-5-5": "agreement_offers_claude.json",
    "openai.gpt-5.6-terra": "agreement_offers_gpt.json",
}
"""The rate cards of the models that are sold through AWS Marketplace."""

LADDER = Ladder(Decimal(50), Decimal(80))
SETTINGS = Settings(
    prefix="bedrock-spend",
    enforce=True,
    regions=("us-east-1",),
    watched=("us-east-1",),
    limits=(Limit(Window.DAY, Decimal(50), LADDER), Limit(Window.MINUTE, Decimal(500), LADDER)),
    budget=LADDER,
    reaction=timedelta(minutes=4),
    max_blind_usd=Decimal(5),
    exempt=("role/break-glass",),
    external_anthropic=False,
)
DELETING = replace(SETTINGS, work=Choice(irreversible=tuple(each.key for each in IRREVERSIBLE)))
"""Where a stop deletes standing capacity, of all kinds."""
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


_MOTO_METRIC_DATA = CloudWatchBackend.get_metric_data


def _metric_data(backend: Any, queries: list[dict[str, Any]], *when: Any, **how: Any) -> list[dict[str, Any]]:
    """Answer as AWS does where no dimensions are asked for: by the series that has none. Moto adds up all series."""
    everything = backend.get_all_metrics
    results = {}
    try:
        for query in queries:
            if not query["MetricStat"]["Metric"].get("Dimensions"):
                backend.get_all_metrics = lambda: [each for each in everything() if not each.dimensions]
            else:
                backend.get_all_metrics = everything
            results[query["Id"]] = _MOTO_METRIC_DATA(backend, [query], *when, **how)
    finally:
        backend.get_all_metrics = everything
    return [each for found in results.values() for each in found]


def always(answer: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Return what gives the same answer to every call."""
    return lambda _: answer


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
    asked_release: list[dict[str, Any]] = field(default_factory=list)
    """The same of the release function."""
    throttles: Throttles = field(default_factory=Throttles)
    shared: SharedEvents = field(default_factory=SharedEvents)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    """What CloudFormation was told."""
    billed_usd: str = "10"
    """What Nova Pro costs on each day of the bill."""
    budget_action: str = "STANDBY"
    """The status of AWS Budgets' own stop."""
    stack_status: str = "DELETE_IN_PROGRESS"
    """What CloudFormation says of the stack."""
    _running: str = ""
    _here: threading.local = field(default_factory=threading.local)

    @property
    def running(self) -> str:
        """The function whose calls these are; empty when they are nobody's."""
        return str(getattr(self._here, "name", self._running))

    @running.setter
    def running(self, name: str) -> None:
        self._running = name

    @contextmanager
    def _instead(self, name: str) -> Iterator[None]:
        """Have another function run in this thread meanwhile: whoever waits for it goes on in the others."""
        before = getattr(self._here, "name", None)
        self._here.name = name
        try:
            yield
        finally:
            if before is None:
                del self._here.name
            else:
                self._here.name = before

    def __post_init__(self) -> None:
        self.monkeypatch.setattr("time.sleep", lambda _seconds: None)
        session = boto3.Session(region_name="us-east-1")
        session.events.register("before-call.*.*", self._on_call)
        self.monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
        self.rest()
        self.answers |= self.throttles.answers | self.shared.answers
        self.answers |= {
            "bedrock:ListModelInvocationJobs": self._list_jobs,
            "bedrock:StopModelInvocationJob": self._stop_job,
            "lambda:InvokeFunction": self._invoked,
            "cloudformation:DescribeStacks": lambda _: {
                "Stacks": [{"StackName": "guardrail", "CreationTime": _MADE, "StackStatus": self.stack_status}]
            },
            "iam:SimulatePrincipalPolicy": self._simulated,
            **{action: always(answer) for action, answer in PARTS.items()},
            "budgets:ViewBudget": lambda _: {"Budget": budget("10"), "BudgetPerformanceHistory": {}},
            "budgets:DescribeBudgetAction": lambda _: {"Action": {"Status": self.budget_action}},
            "budgets:ExecuteBudgetAction": self._execute_budget_action,
            "ce:GetCostAndUsage": self._bill,
            "ses:SendEmail": always({"MessageId": "m"}),
            **{action: always(answer) for action, answer in STOCK.items()},
        }
        self.answers |= {
            "pricing:GetProducts": list_prices,
            "bedrock:ListFoundationModels": self._list_models,
            "bedrock:ListFoundationModelAgreementOffers": self._offers,
        }
        self.environment = {
            "GUARDRAIL": SETTINGS.to_json(),
            "BRAKE_POLICY_ARN": BRAKE,
            "SWEEP_POLICY_ARN": SWEEP,
            "DENY_POLICY_ARN": DENY,
            "WRITER_FUNCTION": "install",
            "OWNER": "guardrail in us-east-1",
            "NOTICE_TOPIC_ARN": boto3.client("sns").create_topic(Name="notices")["TopicArn"],
            "LEDGER_TABLE": LEDGER,
            "BUDGET_NAME": BUDGET,
            "BUDGET_ACTION_ID": "00000000-0000-0000-0000-000000000000",
            "ANOMALY_MONITOR_ARN": MONITOR,
            "ANOMALY_USD": "100",
            "STOP_BY_HAND": "aws iam set-default-policy-version",
            "STOP_FUNCTION": "stop",
            "RELEASE_FUNCTION": "release",
            "INLINE_FUNCTION": "inline",
            "DEPLOYED": json.dumps(
                {"stack": "guardrail", "satellites": [], "budgets": [], "reserved": [["bedrock-spend-kill", 2]]}
            ),
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
        self.monkeypatch.setattr(CloudWatchBackend, "get_metric_data", _metric_data)

    def _on_call(self, model: Any, params: dict[str, Any], **_: object) -> Any:
        name = f"{model.service_model.endpoint_prefix}:{model.name}".replace("monitoring:", "cloudwatch:")
        action = action_of(_IAM_NAMES.get(name, name))
        if self.running:
            self.calls[self.running] |= {action, *_VIA.get(action, ())}
        if action in self.answers:
            return SimpleNamespace(status_code=200), self.answers[action](params)
        return None

    def rest(self) -> None:
        """Let no work run."""
        self.answers |= {action: always(answer) for action, answer in nothing_runs()}

    def work(self) -> None:
        """Let one of each kind of work run; batch jobs are those in ``jobs``."""
        batch = {"bedrock:ListModelInvocationJobs", "bedrock:StopModelInvocationJob"}
        self.answers |= {action: always(answer) for action, answer in everything_runs() if action not in batch}

    def stock(self) -> None:
        """Let there be of Bedrock's stock what the inventory is to find."""
        self.answers |= {action: always(answer) for action, answer in STOCK.items()}

    def _list_jobs(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params["query_string"].get("statusEquals")
        return {"invocationJobSummaries": [each for each in self.jobs if wanted in {None, each["status"]}]}

    def _stop_job(self, params: dict[str, Any]) -> dict[str, Any]:
        self.jobs = [each for each in self.jobs if each["jobArn"].rpartition("/")[2] not in params["url_path"]]
        return {}

    def _execute_budget_action(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = json.loads(params["body"])["ExecutionType"]
        self.budget_action = {"REVERSE_BUDGET_ACTION": "REVERSE_SUCCESS", "RESET_BUDGET_ACTION": "STANDBY"}[asked]
        return {}

    def _list_models(self, params: dict[str, Any]) -> dict[str, Any]:
        del params
        return dict(event("list_foundation_models.json"))

    def _offers(self, params: dict[str, Any]) -> dict[str, Any]:
        model = params["url_path"].rpartition("/")[2]
        if model in OFFERS:
            return dict(event(OFFERS[model]))
        raise ClientError(
            {"Error": {"Code": "ValidationException", "Message": "Agreement not supported for this model"}},
            "ListFoundationModelAgreementOffers",
        )

    def _invoked(self, params: dict[str, Any]) -> dict[str, Any]:
        request = json.loads(params["body"])
        for name, handler in (("install", install.handler), ("inline", inline.handler)):
            if f"/functions/{name}/" in params["url_path"]:
                return self._answered(name, handler, request)
        asked = self.asked if "/functions/stop/" in params["url_path"] else self.asked_release
        asked.append(request)
        return {"StatusCode": 202}

    def _answered(self, name: str, handler: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
        """Run a function and answer as Lambda does to who waits for it."""
        failed: dict[str, Any] = {}
        try:
            with self._instead(name):
                answer = handler(request, Context())
        except GuardrailError as error:
            answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
            failed = {"FunctionError": "Unhandled"}
        return {"StatusCode": 200, "Payload": BytesIO(json.dumps(answer).encode()), **failed}

    def _simulated(self, params: dict[str, Any]) -> dict[str, Any]:
        with self._instead(""):  # what the simulator reads is no call of the function's
            return simulate(params)

    def _bill(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = json.loads(params["body"])
        first, end = (date.fromisoformat(asked["TimePeriod"][each]) for each in ("Start", "End"))
        keys = ["Amazon Bedrock", "model$Nova Pro"][: len(asked["GroupBy"])]
        groups = [{"Keys": keys, "Metrics": {"UnblendedCost": {"Amount": self.billed_usd, "Unit": "USD"}}}]
        days = [(first + timedelta(days=number)).isoformat() for number in range((end - first).days)]
        return {
            "ResultsByTime": [
                {"TimePeriod": {"Start": day, "End": day}, "Total": {}, "Groups": groups, "Estimated": True}
                for day in days
            ]
        }

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

    def install(
        self,
        request: str = "Create",
        settings: Settings = SETTINGS,
        owner: str = "guardrail in us-east-1",
        **changes: str,
    ) -> dict[str, Any]:
        """Run the custom resource of the policies, with the settings the stack is deployed with from then on."""
        self.monkeypatch.setenv("GUARDRAIL", settings.to_json())
        self.monkeypatch.setenv("OWNER", owner)
        properties = {"BrakeArn": BRAKE, "Owner": owner, "Documents": "digest"} | changes
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

    def share(self, request: str) -> dict[str, Any]:
        """Send the share function what CloudFormation sends about its resource."""
        event = {
            "RequestType": request,
            "ResponseURL": "https://cloudformation.example/answer",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "Events",
            "ResourceProperties": {"Owner": self.environment["OWNER"], "Events": "digest"},
        }
        answer: dict[str, Any] = self.run("share", event)
        return answer

    def put_back(self, request: str) -> dict[str, Any]:
        """Send the release function what CloudFormation sends about its resource."""
        event = {
            "RequestType": request,
            "ResponseURL": "https://cloudformation.example/answer",
            "StackId": f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/guardrail/1",
            "RequestId": "request",
            "LogicalResourceId": "PutBack",
            "PhysicalResourceId": "PutBack",
            "ResourceProperties": {},
        }
        answer: dict[str, Any] = self.run("release", event)
        return answer

    def level(self, arn: str = BRAKE) -> str:
        """Return the level of a policy's default version, read as a person would."""
        iam = boto3.client("iam")
        default = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]["Document"]
        return str(level_of(document))

    def holders(self, arn: str) -> set[str]:
        """Return whom a policy is attached to."""
        found = boto3.client("iam").list_entities_for_policy(PolicyArn=arn)
        return {each["RoleName"] for each in found["PolicyRoles"]} | {each["UserName"] for each in found["PolicyUsers"]}

    def attach_by_hand(self, role: str, arn: str = BRAKE) -> None:
        """Attach a policy of the guardrail to a role as somebody else would."""
        boto3.client("iam").attach_role_policy(RoleName=role, PolicyArn=arn)

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

    def get_remaining_time_in_millis(self) -> int:
        return 900_000

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def list_prices(params: dict[str, Any]) -> dict[str, Any]:
    """Return the Price List of a service in a region, in pages of one product where it has any."""
    asked = json.loads(params["body"])
    (region,) = (each["Value"] for each in asked["Filters"] if each["Field"] == "regionCode")
    pages = {"AmazonBedrock": "bedrock", "AmazonBedrockFoundationModels": "marketplace"}
    if asked["ServiceCode"] not in pages:
        return {"FormatVersion": "aws_v1", "PriceList": []}
    listed = event(f"get_products_{pages[asked['ServiceCode']]}.json")["PriceList"]
    found = [each for each in listed if f'"regionCode": "{region}"' in each]
    page = int(asked.get("NextToken", 0))
    more = {"NextToken": str(page + 1)} if page + 1 < len(found) else {}
    return {"FormatVersion": "aws_v1", "PriceList": found[page : page + 1], **more}


def budget(actual: str) -> dict[str, Any]:
    """Return a budget as DescribeBudget gives it."""
    return {
        "BudgetName": BUDGET,
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": "500.0", "Unit": "USD"},
        "CalculatedSpend": {"ActualSpend": {"Amount": actual, "Unit": "USD"}},
    }
