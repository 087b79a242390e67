"""cdk-nag's AwsSolutions pack over every stack: each finding is acknowledged beside its construct, with a reason."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Resource, Stack, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

from app import stacks
from lambdas.core.permissions import On
from stacks.acknowledged import WILDCARDS
from tests.infra.conftest import ROOT
from tests.infra.template import REGION

EVERYTHING = """\
mode = "enforce"
regions = ["us-east-1", "eu-west-1"]
emails = ["ops@example.com"]
[limits]
minute = 5
day = 40
month = 400
[ladder]
step_down = 75
[budget]
monthly_usd = 1234.5
daily_usd = 100
stop_natively = ["role/agent"]
[anomalies]
monitor = "create"
act = "step-down"
[alarms]
silent_meter = "stop"
tokens = true
log_delivery = true
[notices]
chat = true
escalate = ["cto@example.com"]
owner_tag = "owner"
sender = "bedrock-spend@example.com"
[exempt]
principals = ["role/ops/break-glass"]
tag = "spend=exempt"
[options]
external_anthropic = true
keep_ledger = true
inline_deny = true
encrypt = true
[throttle]
gateway_percent = 25
[work]
irreversible = ["provisioned-throughput", "marketplace-endpoint", "custom-model-deployment"]
[detach]
policies = ["policy/team/bedrock-use"]
[live_drill]
model = "anthropic.claude-haiku-5-5"
monthly = true
[organization]
management_account = "999999999999"
account = "123456789012"
"""


def checked(output: Path, make: Any, **context: str) -> tuple[App, list[str]]:
    """Synthesize what `make` puts into an app, with the checks; return the findings, none where all is well."""
    given = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = App(context=given | {"aws:cdk:bundling-stacks": []} | context, outdir=str(output))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    make(app)
    try:
        app.synth()
    except RuntimeError as error:
        assert "ValidationFailed" in str(error)  # noqa: PT017 - anything else is a fault of the test
    report = output / "validation-report.json"
    if not report.exists():
        return app, []
    found: list[Mapping[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["pluginReports"]
    return app, [
        f"{where['constructPath']}: {violation['ruleName']}"
        for each in found
        for violation in each["violations"]
        for where in violation["violatingConstructs"]
    ]


@pytest.fixture(scope="module")
def all_options(tmp_path_factory):
    file = tmp_path_factory.mktemp("options") / "guardrail.toml"
    file.write_text(EVERYTHING, encoding="utf-8")
    return file


@pytest.fixture(scope="module", params=["as shipped", "all options", "organization", "home without tripwires"])
def each_app(request, all_options, tmp_path_factory):
    file = ROOT / "guardrail.toml" if request.param == "as shipped" else all_options
    home = "eu-central-1" if request.param == "home without tripwires" else REGION
    context = {"organization": "true"} if request.param == "organization" else {}
    return checked(tmp_path_factory.mktemp("nag"), lambda app: stacks(app, file, home), **context)


def test_there_is_no_finding(each_app):
    _, findings = each_app
    assert findings == []


def test_cfn_lint_has_none_either(each_app):
    app, _ = each_app
    templates = sorted(map(str, Path(app.outdir).glob("*.template.json")))
    assert templates
    # As `make synth` calls it: from the root, where the settings of cfn-lint are.
    run = subprocess.run(  # noqa: S603 - our own tool on our own files
        [str(Path(sys.executable).with_name("cfn-lint")), *templates],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def _acknowledged(app: App) -> Iterator[tuple[IConstruct, str, str]]:
    for construct in app.node.find_all():
        for each in construct.node.metadata:
            if each.type == Validations.ACKNOWLEDGED_RULES_METADATA_KEY:
                for rule, reason in each.data.items():
                    yield construct, rule, reason


def test_what_is_acknowledged_is_one_finding_of_one_construct_with_a_reason(each_app):
    app, _ = each_app
    for construct, rule, reason in _acknowledged(app):
        # Never a stack, an app or a construct of many resources; and of IAM5 never the rule, but one thing it allows.
        assert isinstance(construct, Resource), construct.node.path
        assert not rule.endswith("-IAM5"), construct.node.path
        assert len(reason.split()) >= 5, (construct.node.path, rule, reason)


def test_the_checks_see_what_is_wrong(tmp_path):
    """Without this an upgrade that silences the checks would go unseen."""

    def make(app: App) -> None:
        stack = Stack(app, "bad")
        sqs.Queue(stack, "Queue")
        role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        role.add_to_policy(iam.PolicyStatement(actions=["s3:*"], resources=["*"]))

    _, findings = checked(tmp_path, make)
    assert {each.partition(": ")[2] for each in findings} == {
        "AwsSolutions-IAM5[Action::s3:*]",
        "AwsSolutions-IAM5[Resource::*]",
        "AwsSolutions-SQS3",
        "AwsSolutions-SQS4",
    }


def test_every_reason_is_for_something_that_has_a_wildcard():
    assert set(WILDCARDS) <= set(On)
    for on, reason in WILDCARDS.items():
        assert reason.endswith("."), on
