"""What the doctor says of what it read: pure, a finding a line, each with what to do about it."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lambdas.core import arming, concurrency, health, model_ids
from lambdas.core.concurrency import Room
from lambdas.core.health import AutoManagement, Trail
from lambdas.core.principals import Capability, Principal, Quotas
from lambdas.settings import Settings
from lambdas.watching import QUOTAS_OF
from stacks.configuration import Configuration


class Mark(StrEnum):
    """How a thing stands."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing stands, and what to do about it."""

    topic: str
    mark: Mark
    words: str
    todo: str = ""


def summary(findings: Collection[Finding]) -> str:
    """Return in a line how it stands."""
    count = {mark: sum(each.mark is mark for each in findings) for mark in Mark}
    told = {Mark.BAD: "bad", Mark.WARN: "to look at", Mark.UNKNOWN: "could not be read", Mark.OK: "ok"}
    return ", ".join(f"{count[mark]} {words}" for mark, words in told.items() if count[mark]) + "."


# --- the file -----------------------------------------------------------------------------------------------------


def configuration(found: Configuration) -> list[Finding]:
    """Judge a guardrail.toml that is valid."""
    settings = found.settings
    mode = "enforce" if settings.enforce else "report-only"
    limits = ", ".join(map(str, settings.limits))
    findings = [Finding("guardrail.toml", Mark.OK, f"valid: {mode}, {limits}")]
    if not found.emails:
        findings.append(
            Finding("guardrail.toml", Mark.WARN, "nobody is mailed when Bedrock is stopped", "put an address in emails")
        )
    if not (settings.exempt or settings.exempt_tag):
        findings.append(
            Finding(
                "guardrail.toml",
                Mark.WARN,
                "nobody is exempt: a stop reaches each role that can call Bedrock",
                "put your break-glass role into exempt.principals",
            )
        )
    return findings


# --- who can spend ------------------------------------------------------------------------------------------------


def people(principals: Sequence[Principal], settings: Settings, brake_arn: str) -> list[Finding]:
    """Say who can spend, who is armed, and whom nothing would stop."""
    calling = [each for each in principals if each.calls and each.capability is not Capability.NONE]
    exempt = [each for each in calling if settings.spared.covers(each)]
    named = sum(each.capability is Capability.NAMED for each in calling)
    words = f"{len(calling)} roles and users: {named} by name, {len(calling) - named} through a wildcard"
    findings = [Finding("can spend", Mark.OK, words + (f"; {len(exempt)} of them exempt" if exempt else ""))]
    scp = settings.organization is not None
    plan = arming.plan_arming(
        brake_arn, principals, settings.spared, settings.arming, own_path=settings.own_path, scp=scp
    )
    armed = f"{len(plan.armed)} are armed, {len(plan.steps)} more can be; a stop sweeps the others"
    findings.append(Finding("arming", Mark.OK, armed))
    findings += [
        Finding(
            "no free slot",
            Mark.WARN if full.planned or settings.inline_deny else Mark.BAD,
            f"{holder}: all its policy slots are taken; "
            + (full.planned or ("a stop denies it inline" if settings.inline_deny else "NOTHING would stop it")),
            full.remedy,
        )
        for holder, full in sorted(plan.full.items())
    ]
    findings += [
        Finding(
            "identity center",
            Mark.WARN if scp else Mark.BAD,
            f"permission set {name or '(not told by the name of its role)'} lacks the brake policy: "
            + ("only the SCP stops " if scp else "NOTHING would stop ")
            + ", ".join(roles),
            f"{arming.commands(brake_arn)[0]} (then provision it; or use organization mode)",
        )
        for name, roles in plan.permission_sets.items()
    ]
    # AWS's own services call with these, for others whom a stop does reach.
    findings += [
        Finding("out of reach", Mark.WARN, f"{arn.split(':', 5)[-1]}: {why}", "nothing can be done in IAM")
        for arn, why in sorted(plan.uncovered.items())
    ]
    return findings


_MOST_PER_ROLE = 25
"""IAM raises the quota so far, and no further."""


def room(summary_map: Mapping[str, int], *, deployed: bool) -> list[Finding]:
    """Judge IAM's quotas."""
    quotas = Quotas.from_summary(summary_map)
    slots = f"{quotas.policies_per_role} policies a role, {quotas.policies_per_user} a user"
    findings = [
        Finding(
            "IAM quotas",
            Mark.OK,
            slots,
            "" if quotas.policies_per_role >= _MOST_PER_ROLE else "can be raised to 25 a role, where slots are full",
        )
    ]
    for what, needed in (("Policies", 3), ("Groups", 2)):
        there, most = summary_map.get(what), summary_map.get(f"{what}Quota")
        if there is None or most is None:
            findings.append(
                Finding("IAM quotas", Mark.UNKNOWN, f"IAM does not tell how many {what.lower()} there may be")
            )
        elif not deployed and most - there < needed:
            words = f"{there} of {most} {what.lower()} are there already, the guardrail needs {needed}"
            findings.append(Finding("IAM quotas", Mark.BAD, words, "delete some, or have the quota raised"))
    return findings


def keys(words: Sequence[str], unread: Mapping[str, str]) -> list[Finding]:
    """Say which long-term API keys there are."""
    findings = [Finding("API keys", Mark.UNKNOWN, f"{what}: {why}") for what, why in unread.items()]
    if words:
        told = f"{len(words)} active Bedrock API keys, which a stop sets inactive: {', '.join(words[:5])}"
        findings.append(Finding("API keys", Mark.OK, told + (" …" if len(words) > 5 else "")))  # noqa: PLR2004 - a line
    elif not unread:
        findings.append(
            Finding("API keys", Mark.OK, "no active long-term Bedrock API key of anybody who is not exempt")
        )
    return findings


# --- regions ------------------------------------------------------------------------------------------------------


def regions(planes: Mapping[str, Collection[str]], gaps: Iterable[str], settings: Settings) -> list[Finding]:
    """Hold the regions in use in the last two weeks, with their planes, against those of the configuration."""
    findings = [Finding("regions", Mark.UNKNOWN, each) for each in gaps]
    listed = set(settings.regions)
    for region, used in sorted(planes.items()):
        words = f"{region}: in use ({', '.join(sorted(used))})"
        if region in listed:
            findings.append(Finding("regions", Mark.OK, words))
        else:
            todo = f'add "{region}" to regions in guardrail.toml, and it gets tripwires'
            findings.append(Finding("regions", Mark.WARN, f"{words}, and not listed: found only within the hour", todo))
    idle = sorted(listed - planes.keys())
    if idle:
        findings.append(Finding("regions", Mark.OK, f"listed and not in use: {', '.join(idle)}"))
    if not planes and not findings:
        findings.append(Finding("regions", Mark.OK, "Bedrock was not used in the last two weeks"))
    return findings


def logging(region: str, found: Mapping[str, Any] | None, *, alarmed: bool) -> Finding:
    """Judge the invocation log of a region; None when it is off."""
    to = [kind for key, kind in (("cloudWatchConfig", "CloudWatch Logs"), ("s3Config", "S3")) if (found or {}).get(key)]
    if to:
        words = f"{region}: invocations are logged to {' and '.join(to)}"
        return Finding("logging", Mark.OK, words, "" if alarmed else "alarms.log_delivery tells when that fails")
    words = f"{region}: invocations are not logged: nobody can tell afterwards who called"
    if alarmed:
        return Finding("logging", Mark.WARN, f"{words}; alarms.log_delivery watches nothing", "turn logging on")
    return Finding("logging", Mark.OK, words, "turn logging on if you want to know; the guardrail does not need it")


# --- billing ------------------------------------------------------------------------------------------------------

_USAGE = {"SERVICE": "Amazon Bedrock", "BILLING_ENTITY": "AWS", "RECORD_TYPE": "Usage"}
_MARKETPLACE = {
    "SERVICE": "Claude Opus 5.5 (Amazon Bedrock Edition)",
    "BILLING_ENTITY": "AWS Marketplace",
    "RECORD_TYPE": "Usage",
}
_CREDIT = _USAGE | {"RECORD_TYPE": "Credit"}
_FILTERS = {"Service": "SERVICE", "BillingEntity": "BILLING_ENTITY", "RecordType": "RECORD_TYPE"}


def budgets(found: Iterable[Mapping[str, Any]], ours: Collection[str]) -> list[Finding]:
    """Say which cost budgets there are, and whether they see what Claude and GPT cost. ``ours`` are the guardrail's."""
    findings = []
    for each in found:
        if each.get("BudgetType") != "COST":
            continue
        name, bedrock, marketplace = each["BudgetName"], sees(each, _USAGE), sees(each, _MARKETPLACE)
        if bedrock is False and marketplace is False:
            continue
        limit = (each.get("BudgetLimit") or {}).get("Amount", "?")
        words = f"{name} (${limit}, {str(each.get('TimeUnit', '')).lower()})"
        unhealthy = (each.get("HealthStatus") or {}).get("Status") == "UNHEALTHY"
        if unhealthy:
            findings.append(Finding("budgets", Mark.BAD, f"{words} is unhealthy: AWS does not evaluate it", "mend it"))
        elif bedrock is None or marketplace is None:
            findings.append(Finding("budgets", Mark.UNKNOWN, f"{words}: its filter tells nothing of Bedrock for sure"))
        elif not marketplace:
            todo = "add billing entity AWS Marketplace to its filter; or leave it to the guardrail's own budget"
            lacking = f"{words} does not see AWS Marketplace, where Claude and GPT bill"
            findings.append(Finding("budgets", Mark.BAD if name in ours else Mark.WARN, lacking, todo))
        elif not bedrock:
            findings.append(Finding("budgets", Mark.OK, f"{words} sees AWS Marketplace, and not Bedrock's own models"))
        elif sees(each, _CREDIT):
            hidden = f"{words} counts credits, which hide what is being spent"
            findings.append(Finding("budgets", Mark.WARN, hidden, "exclude credits and refunds from it"))
        else:
            findings.append(Finding("budgets", Mark.OK, f"{words} sees Bedrock and AWS Marketplace"))
    if not findings:
        findings.append(Finding("budgets", Mark.OK, "no budget sees Bedrock yet; the guardrail brings one"))
    return findings


def sees(budget: Mapping[str, Any], record: Mapping[str, str]) -> bool | None:
    """Tell whether a budget counts a line of the bill, given by its dimensions; None where they do not tell."""
    if record["RECORD_TYPE"] == "Credit" and (budget.get("CostTypes") or {}).get("IncludeCredit") is False:
        return False
    if expression := budget.get("FilterExpression"):
        return _matches(expression, record)
    results = [
        _among(record.get(_FILTERS.get(name, "")), values) for name, values in (budget.get("CostFilters") or {}).items()
    ]
    return _all(results)


def _matches(expression: Mapping[str, Any], record: Mapping[str, str]) -> bool | None:
    if "And" in expression:
        return _all([_matches(each, record) for each in expression["And"]])
    if "Or" in expression:
        return _any([_matches(each, record) for each in expression["Or"]])
    if "Not" in expression:
        inner = _matches(expression["Not"], record)
        return None if inner is None else not inner
    dimension = expression.get("Dimensions") or {}
    if set(dimension.get("MatchOptions") or ()) - {"EQUALS", "CASE_SENSITIVE", "CASE_INSENSITIVE"}:
        return None
    return _among(record.get(dimension.get("Key", "")), dimension.get("Values", ()))


def _among(value: str | None, values: Collection[str]) -> bool | None:
    return None if value is None else value in values


def _all(results: Collection[bool | None]) -> bool | None:
    return False if False in results else None if None in results else True


def _any(results: Collection[bool | None]) -> bool | None:
    return True if True in results else None if None in results else False


def makers(models: Iterable[str]) -> dict[str, str]:
    """Return of each maker one model, by its bare id. Ids that tell no maker (profiles, own models) are left out."""
    found: dict[str, str] = {}
    for each in sorted(models):
        bare = model_ids.without_geography(model_ids.normalise(each))
        maker, dot, _ = bare.partition(".")
        if dot and "/" not in bare and ":" not in maker:
            found.setdefault(maker, bare)
    return found


def marketplace(sold: Mapping[str, bool | str], *, in_use: bool) -> list[Finding]:
    """Say whose models bill through AWS Marketplace; a text in place of an answer says why it is not known."""
    by_answer: defaultdict[bool, list[str]] = defaultdict(list)
    findings = []
    for maker, answer in sorted(sold.items()):
        if isinstance(answer, str):
            findings.append(Finding("marketplace", Mark.UNKNOWN, f"{maker}: {answer}"))
        else:
            by_answer[answer].append(maker)
    whose = "in use" if in_use else "offered here"
    if by_answer[True]:
        words = f"of the models {whose}, those of {', '.join(by_answer[True])} bill through AWS Marketplace"
        todo = "a budget must count the billing entity AWS Marketplace, as the guardrail's own does"
        findings.append(Finding("marketplace", Mark.OK, words, todo))
    if by_answer[False]:
        words = f"of the models {whose}, those of {', '.join(by_answer[False])} bill as Amazon Bedrock"
        findings.append(Finding("marketplace", Mark.OK, words))
    return findings


def anomaly_monitors(found: Iterable[Mapping[str, Any]], wanted: Configuration) -> list[Finding]:
    """Hold Cost Anomaly Detection's monitors against the configuration."""
    services = [each["MonitorArn"] for each in found if each.get("MonitorDimension") == "SERVICE"]
    asked = wanted.anomalies
    if asked is None:
        there = (
            f"an anomaly monitor of services is there ({services[0]})" if services else "no anomaly monitor is there"
        )
        todo = f'[anomalies] monitor = "{services[0] if services else "create"}" would make it a third opinion'
        return [Finding("anomalies", Mark.OK, f"{there}, and [anomalies] is not configured", todo)]
    if asked.monitor == "create":
        if services:
            words = f"[anomalies] says create, and AWS allows one monitor of services: {services[0]} is there"
            return [
                Finding("anomalies", Mark.WARN, words, f'once it is not the guardrail\'s: monitor = "{services[0]}"')
            ]
        return [Finding("anomalies", Mark.OK, "a monitor will be created")]
    if asked.monitor not in {each["MonitorArn"] for each in found}:
        words = f"the monitor {asked.monitor} of [anomalies] is not there"
        return [Finding("anomalies", Mark.BAD, words, 'give the ARN of one that is, or "create"')]
    return [Finding("anomalies", Mark.OK, f"{asked.monitor} is there")]


# --- what the functions need --------------------------------------------------------------------------------------


def room_in_lambda(room: Room, region: str, *, deployed: bool) -> list[Finding]:
    """Judge whether the functions that must run can have concurrency of their own; once deployed, the watch does."""
    words = f"{region}: Lambda runs {room.limit} at once, {room.unreserved} of them not reserved"
    wanted = {} if deployed else concurrency.MUST_RUN
    lacking = concurrency.plan(wanted, dict.fromkeys(wanted), {}, room).findings
    return [Finding("concurrency", Mark.WARN, each.words) for each in lacking] or [
        Finding("concurrency", Mark.OK, words)
    ]


def trails(region: str, found: Sequence[Trail]) -> list[Finding]:
    """Judge the CloudTrail trails of a region."""
    lacking = health.trails(region, found)
    return [Finding("CloudTrail", Mark.BAD, each.words) for each in lacking] or [
        Finding("CloudTrail", Mark.OK, f"{region}: a trail records management events")
    ]


def quotas(found: AutoManagement | None) -> list[Finding]:
    """Judge whether Service Quotas raises Bedrock's quotas by itself."""
    raised = health.quotas(found, QUOTAS_OF)
    return [Finding("quotas", Mark.WARN, each.words) for each in raised] or [
        Finding("quotas", Mark.OK, "Service Quotas does not raise quotas of Bedrock by itself")
    ]


# --- a guardrail that is deployed -----------------------------------------------------------------------------------


def deployment(status: Mapping[str, Any], region: str) -> list[Finding]:
    """Judge what the guardrail's status says of itself."""
    findings = [Finding("deployment", Mark.OK, f"{region}: {status.get('summary', '')}")]
    if isinstance(status.get("meter"), str):
        words = f"the meter: {status['meter']}"
        findings.append(Finding("deployment", Mark.WARN, words, "wait two minutes, then look at its log"))
    findings += [
        Finding("deployment", Mark.UNKNOWN, f"{what}: {why}") for what, why in (status.get("unknown") or {}).items()
    ]
    return findings


def up_to_date(deployed: str, file: str) -> list[Finding]:
    """Hold the settings that are deployed against those of the file, both as JSON."""
    there, here = json.loads(deployed), json.loads(file)
    differ = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    if not differ:
        return [Finding("deployment", Mark.OK, "what is deployed is what the file says")]
    words = f"the file says otherwise than what is deployed: {', '.join(differ)}"
    return [Finding("deployment", Mark.WARN, words, "make deploy, or look at another file with --config")]


def watched(kept: Mapping[str, Any] | None) -> list[Finding]:
    """Tell what the guardrail last found wrong with itself. ``kept`` is what the ledger has of it."""
    if kept is None:
        return [Finding("self-watch", Mark.UNKNOWN, "it has not looked at itself yet", "it does so each hour")]
    try:
        look = health.Look.from_json(kept)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [Finding("self-watch", Mark.UNKNOWN, f"its last look cannot be read ({error!r})", "run -watch again")]
    seen = f"last looked {look.at:%Y-%m-%d %H:%M} UTC"
    return [Finding("self-watch", Mark.BAD, each.words) for each in look.standing.values()] or [
        Finding("self-watch", Mark.OK, f"all is as it should be, {seen}")
    ]
