"""What the stacks of an account hold that is paid for by the month, counted in their templates."""

import json
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from aws_cdk import App

from app import ROOT, stacks
from lambdas.core.limits import Limit

HOME = "us-east-1"
_REGIONS = (
    HOME,
    *("us-east-2", "us-west-2", "eu-central-1", "eu-west-1", "eu-west-2"),
    *("eu-west-3", "ap-northeast-1", "ap-southeast-1", "ap-south-1"),
)


def alarms(regions: int, limits: Iterable[Limit]) -> int:
    """Return the number of metrics that alarms look at: that of alarms, each sum as many as it adds up.

    For an account with so many regions, these limits, and everything else as it is by default.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "guardrail.toml"
        lines = ['mode = "enforce"', f"regions = {json.dumps(_REGIONS[:regions])}", "[limits]"]
        lines += [f"{each.window} = {each.usd}" for each in limits]
        # The mails of a budget cost nothing.
        file.write_text("\n".join([*lines, "[budget]", "monthly_usd = 100000"]), encoding="utf-8")
        context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
        app = App(context=context | {"aws:cdk:bundling-stacks": []}, outdir=str(Path(folder) / "out"))
        stacks(app, file, HOME)
        found = [
            resource["Properties"]
            for each in app.synth().stacks
            for resource in each.template["Resources"].values()
            if resource["Type"] == "AWS::CloudWatch::Alarm"
        ]
    return sum(sum("MetricStat" in each for each in alarm.get("Metrics", ())) or 1 for alarm in found)
