"""The stack, synthesized once for all tests that look at it."""

import json
import os
import sys
from pathlib import Path

import pytest

# aws_cdk runs on Node, which the environment of the tests carries; the machine's own, if any, does not matter.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

from aws_cdk import App
from aws_cdk.assertions import Template
from aws_cdk.cx_api import CloudAssembly

from app import stacks
from stacks.configuration import Configuration, load
from stacks.guardrail_stack import GuardrailStack
from tests.infra.template import REGION, Synthesized

ROOT = Path(__file__).parents[2]

EVERY_OPTION = """\
mode = "report-only"
prefix = "spend-x"
regions = ["eu-central-1"]
emails = ["ops@example.com", "finance@example.com"]
[limits]
day = 40
[ladder]
step_down = 75
[pace]
max_blind_usd = 2.5
[budget]
monthly_usd = 1234.5
[exempt]
principals = ["role/ops/break-glass", "user/on-call*"]
[options]
external_anthropic = true
keep_ledger = true
inline_deny = true
[work]
irreversible = ["provisioned-throughput", "marketplace-endpoint", "custom-model-deployment"]
spare = ["batch-job"]
[detach]
policies = ["policy/team/bedrock-use", "arn:aws:iam::aws:policy/AmazonBedrockFullAccess"]
[notices]
chat = true
again_minutes = 30
escalate = ["boss@example.com"]
owner_tag = "owner"
sender = "guard@example.com"
[live_drill]
model = "anthropic.claude-haiku-5-5"
monthly = true
[organization]
management_account = "999999999999"
account = "123456789012"
"""


def synthesized(configuration: Configuration, output: Path) -> Synthesized:
    """Make the template with the context a deployment has; the asset is not bundled."""
    context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = App(context=context | {"aws:cdk:bundling-stacks": []}, outdir=str(output))
    stack = GuardrailStack(app, "guardrail", configuration=configuration)
    return Synthesized(configuration, Template.from_stack(stack).to_json())


@pytest.fixture(scope="session")
def shipped(tmp_path_factory):
    """The stack of guardrail.toml as it is shipped."""
    return synthesized(load(ROOT / "guardrail.toml", home=REGION), tmp_path_factory.mktemp("shipped"))


@pytest.fixture(scope="session")
def varied(tmp_path_factory):
    """The stack with every option set otherwise; its home region is none of those that are listed."""
    folder = tmp_path_factory.mktemp("varied")
    file = folder / "guardrail.toml"
    file.write_text(EVERY_OPTION, encoding="utf-8")
    return synthesized(load(file, home=REGION), folder / "out")


@pytest.fixture(scope="session", params=["shipped", "varied"])
def each_stack(request):
    """Both, for what holds whatever is configured."""
    return request.getfixturevalue(request.param)


def app_of(file: Path, home: str | None, output: Path, **context: str) -> CloudAssembly:
    """Synthesize the whole app as the CLI has it done, but for the asset."""
    given = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = App(context=given | {"aws:cdk:bundling-stacks": []} | context, outdir=str(output))
    stacks(app, file, home)
    return app.synth()


@pytest.fixture(scope="session")
def shipped_app(tmp_path_factory):
    """All stacks of guardrail.toml as it is shipped."""
    return app_of(ROOT / "guardrail.toml", REGION, tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="session")
def satellites(shipped, shipped_app):
    """The satellites' stacks by region."""
    return {
        each.environment.region: Synthesized(shipped.configuration, each.template)
        for each in shipped_app.stacks
        if each.environment.region != "unknown-region"
    }
