"""``bedrock-spend doctor``: reads what matters to the guardrail, before it is deployed and after. Changes nothing."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError
from rich.progress import Progress

from cli import checks, reads
from cli.answers import NOT_ALL, OK, NotPossibleError, Screen, Where, explained
from cli.checks import Finding, Mark
from cli.deployed import Caller, Deployment, NotDeployedError, caller, configured_region, find
from lambdas.aws import calls
from lambdas.aws.account import Account
from lambdas.aws.agreements import ModelOffers
from lambdas.aws.api_keys import ApiKeys
from lambdas.aws.cloudwatch import PLANES, TokenMetrics
from lambdas.aws.own_functions import OwnFunctions
from lambdas.aws.quotas import Quotas
from lambdas.aws.stock import Stock
from lambdas.aws.trails import Trails
from lambdas.core import health, iam_events
from lambdas.core.errors import AwsCallError, GuardrailError
from lambdas.core.health import Trail
from lambdas.core.levels import Level
from lambdas.core.usage import Source
from stacks.configuration import Configuration, ConfigurationError, load

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Patient:
    """Who is looked at."""

    caller: Caller
    configuration: Configuration
    region: str
    """Where the guardrail is deployed, or is going to be."""
    deployment: Deployment | None


Check = Callable[[], list[Finding]]


def diagnose(where: Where, screen: Screen, file: Path) -> tuple[list[Finding], int]:
    """Return what was found, and the exit code."""
    try:
        configuration = load(file)
    except ConfigurationError as error:
        lines = str(error).splitlines()
        return [Finding("guardrail.toml", Mark.BAD, each, "mend it, and run this again") for each in lines], NOT_ALL
    findings = checks.configuration(configuration)
    try:
        patient = _patient(where, configuration, file)
    except (GuardrailError, BotoCoreError) as error:
        words, code = explained(error)
        return [*findings, Finding("credentials", Mark.BAD, words)], code
    account = f"account {patient.caller.account_id}, as {patient.caller.name}"
    findings.append(Finding("credentials", Mark.OK, account))
    findings += examine(patient, screen)
    well = all(each.mark in {Mark.OK, Mark.WARN} for each in findings)
    return findings, OK if well else NOT_ALL


def _patient(where: Where, configuration: Configuration, file: Path) -> Patient:
    """Return who is looked at; that nothing is deployed yet is no error. Raises NotPossibleError without a region."""
    who = caller(where)
    deployment = None
    with suppress(NotDeployedError):
        deployment = find(replace(where, prefix=where.prefix or configuration.settings.prefix))
    region = deployment.region if deployment else where.region or configured_region()
    if not region:
        msg = "no region is known, where the guardrail is to be deployed: give --region, or set AWS_REGION"
        raise NotPossibleError(msg)
    # What gets tripwires depends on where it is deployed.
    return Patient(who, load(file, home=region), region, deployment)


def examine(patient: Patient, screen: Screen) -> list[Finding]:
    """Return all findings, in the order of the checks. What cannot be read is a finding too."""
    look = _Look(patient)
    named: list[tuple[str, Check]] = [
        ("deployment", look.deployment),
        ("can spend", look.people),
        ("IAM quotas", look.room),
        ("API keys", look.keys),
        ("regions", look.regions),
        ("budgets", look.budgets),
        ("anomalies", look.anomalies),
        ("concurrency", look.concurrency),
        ("CloudTrail", look.trails),
        ("quotas", look.quotas),
    ]
    with Progress(console=screen.console, transient=True, disable=not screen.watched) as progress:
        task = progress.add_task("looking", total=len(named))

        def tried(topic: str, check: Check) -> list[Finding]:
            try:
                return check()
            except GuardrailError as error:
                return [unread(topic, error)]
            finally:
                progress.advance(task)

        # By itself: it makes clients of its own, which is not safe side by side.
        first, *others = named
        findings = tried(*first)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return findings + [each for found in pool.map(lambda each: tried(*each), others) for each in found]


def unread(topic: str, error: GuardrailError) -> Finding:
    """Return the finding for what could not be read."""
    return Finding(topic, Mark.UNKNOWN, explained(error)[0], "run it again with credentials that may read this")


def answer(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as JSON has them."""
    return {"summary": checks.summary(findings), "findings": [asdict(each) for each in findings]}


class _Look:
    """The checks, each with the reads it needs."""

    def __init__(self, patient: Patient) -> None:
        self._patient = patient
        self._settings = patient.configuration.settings
        self._client_in = _clients()

    def deployment(self) -> list[Finding]:
        """Tell what the guardrail says of itself, where there is one."""
        deployment = self._patient.deployment
        if deployment is None:
            return [Finding("deployment", Mark.OK, f"not deployed to {self._patient.region} yet", "make deploy")]
        wiring = deployment.wiring
        findings = checks.deployment(wiring.status(), deployment.region)
        findings += checks.up_to_date(wiring.settings.to_json(), self._settings.to_json())
        try:
            return findings + checks.watched(wiring.ledger.kept(health.KEPT))
        except GuardrailError as error:
            return [*findings, unread("self-watch", error)]

    def people(self) -> list[Finding]:
        """Tell who can spend, and whom nothing would stop."""
        iam = self._client_in("iam", reads.BILLING)
        principals = Account(iam, external_anthropic=self._settings.external_anthropic).principals()
        brake = f"arn:aws:iam::{self._patient.caller.account_id}:policy/{self._settings.prefix}-brake"
        return checks.people(principals, self._settings, brake)

    def room(self) -> list[Finding]:
        """Hold IAM's quotas against what the guardrail needs."""
        return checks.room(reads.iam_summary(self._client_in), deployed=self._patient.deployment is not None)

    def keys(self) -> list[Finding]:
        """Tell which API keys there are."""
        iam = self._client_in("iam", reads.BILLING)
        found = ApiKeys(iam, external_anthropic=self._settings.external_anthropic).find(
            Level.STOP, self._settings.spared
        )
        return checks.keys([each.words for each in found.to_hold], found.unread)

    def regions(self) -> list[Finding]:
        """Tell where Bedrock is in use, whether that is logged, and whose models bill through AWS Marketplace."""
        cloudwatch, bedrock = partial(self._client_in, "cloudwatch"), partial(self._client_in, "bedrock")
        enabled = Stock(bedrock, cloudwatch, lambda: self._client_in("ec2", self._patient.region)).regions()
        # The others have no Bedrock to list metrics of.
        asked = sorted(set(enabled) & {*boto3.Session().get_available_regions("bedrock"), *self._settings.regions})
        series, gaps = TokenMetrics(cloudwatch).listed(Source(region, plane) for region in asked for plane in PLANES)
        planes: dict[str, set[str]] = {}
        for each in series:
            planes.setdefault(each.region, set()).add(each.namespace)
        findings = checks.regions(planes, gaps.values(), self._settings)
        for region in sorted({*planes} or {self._patient.region}):
            findings.append(self._logging(region))
        models = {each.model for each in series if each.model}
        first = min(planes, default=self._patient.region)
        return findings + self._marketplace(first, models)

    def _logging(self, region: str) -> Finding:
        try:
            found = reads.invocation_log(self._client_in, region)
        except AwsCallError as error:
            return unread("logging", error)
        return checks.logging(region, found, alarmed=self._patient.configuration.log_alarms)

    def _marketplace(self, region: str, models: set[str]) -> list[Finding]:
        """Ask for the rate card of one model of each maker: those that are sold through AWS Marketplace have one."""
        offers = ModelOffers(partial(self._client_in, "bedrock"))
        try:
            asked = checks.makers(models) or checks.makers(each.model_id for each in offers.models(region))
        except AwsCallError as error:
            return [unread("marketplace", error)]

        def sold(model: str) -> bool | str:
            try:
                return offers.rate_card(region, model) is not None
            except AwsCallError as error:
                return str(error)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = dict(zip(asked, pool.map(sold, asked.values()), strict=True))
        return checks.marketplace(answers, in_use=bool(checks.makers(models)))

    def budgets(self) -> list[Finding]:
        """Tell which budgets there are, and what they do not see."""
        deployment = self._patient.deployment
        ours = {deployment.environment.get("BUDGET_NAME", "")} if deployment and deployment.environment else set()
        return checks.budgets(reads.budgets(self._client_in, self._patient.caller.account_id), ours)

    def anomalies(self) -> list[Finding]:
        """Hold Cost Anomaly Detection against the configuration."""
        return checks.anomaly_monitors(reads.anomaly_monitors(self._client_in), self._patient.configuration)

    def concurrency(self) -> list[Finding]:
        """Tell whether the functions can have concurrency of their own."""
        region = self._patient.region
        room = OwnFunctions(self._client_in("lambda", region)).room()
        return checks.room_in_lambda(room, region, deployed=self._patient.deployment is not None)

    def trails(self) -> list[Finding]:
        """Tell whether CloudTrail tells of changes at home, and in the region where IAM's are told."""
        return [each for region in sorted({self._patient.region, iam_events.REGION}) for each in self._trails(region)]

    def _trails(self, region: str) -> list[Finding]:
        """Judge the trails; one that cannot be read matters only where no other one will do."""
        trails = Trails(partial(self._client_in, "cloudtrail"))
        read: list[Trail] = []
        failed: GuardrailError | None = None
        try:
            for each in trails.covering(region):
                try:
                    read.append(trails.read(each))
                except AwsCallError as error:
                    failed = error
        except AwsCallError as error:
            failed = error
        findings = checks.trails(region, read)
        return findings if failed is None or findings[0].mark is Mark.OK else [unread("CloudTrail", failed)]

    def quotas(self) -> list[Finding]:
        """Tell whether quotas are raised without anybody asking."""
        return checks.quotas(Quotas(self._client_in("service-quotas", self._patient.region)).auto_management())


def _clients() -> Callable[[str, str], Any]:
    """Return what gives the client of a service in a region, the same one each time."""
    making = Lock()

    @cache
    def made(service: str, region: str) -> Any:  # noqa: ANN401 - which service it is, the caller knows
        return boto3.client(service, region_name=region, config=calls.QUICK)  # type: ignore[call-overload]

    def client(service: str, region: str) -> Any:  # noqa: ANN401
        # Making clients is not safe side by side, using them is.
        with making:
            return made(service, region)

    return client
