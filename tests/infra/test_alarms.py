"""Every alarm: that it rings when it should and only then, what it says, whom it tells, and that it has a runbook."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import pytest

from lambdas.core.prices import PriceTable
from stacks.alarms import LOG_DELIVERY
from stacks.configuration import load
from tests.infra.alarm_evaluator import Data, Series, state
from tests.infra.conftest import EVERY_OPTION, ROOT, app_of
from tests.infra.template import REGION, Synthesized

FIVE_LIMITS = """\
[limits]
minute = 5
hour = 20
day = 50
month = 500
"""
OPTIONS = """\
[alarms]
tokens = true
log_delivery = true
"""
RUNBOOKS = ROOT / "docs" / "runbooks"
MAILS = {"still-burning", "not-fully-stopped"}
"""Runbooks of mails that no alarm sends."""


def every_option():
    """Return the configuration with every option on that makes an alarm, in all regions as they are shipped."""
    text = re.sub(r"(?ms)^\[(limits|alarms)\].*?(?=^\[|\Z)", "", (ROOT / "guardrail.toml").read_text(encoding="utf-8"))
    return text.replace("inline_deny = false", "inline_deny = true") + FIVE_LIMITS + OPTIONS


def synthesize(text, folder, home=REGION):
    """Return the stacks of a configuration by region."""
    file = folder / "guardrail.toml"
    file.write_text(text, encoding="utf-8")
    configuration = load(file, home=home)
    return {
        home if each.environment.region == "unknown-region" else each.environment.region: Synthesized(
            configuration, each.template
        )
        for each in app_of(file, home, folder / "out").stacks
    }


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    return synthesize(every_option(), tmp_path_factory.mktemp("alarms"))


def alarms(stack):
    """Return the alarms of a stack by name, references resolved."""
    found = [stack.resolved(each["Properties"]) for each in stack.of_type("AWS::CloudWatch::Alarm").values()]
    named = {each["AlarmName"]: each for each in found}
    assert len(named) == len(found)
    return named


def slugs(stack):
    prefix = f"{stack.configuration.settings.prefix}-"
    return {name.removeprefix(prefix): each for name, each in alarms(stack).items()}


# --- when it rings ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Datapoints, oldest minute first, at which an alarm must ring, and some at which it must not."""

    rings: Sequence[Data]
    quiet: Sequence[Data]
    before: str = "OK"


NONE: Sequence[float] = ()
PRICES = PriceTable.load()
DEAREST = PRICES.ceiling(PRICES.as_of)
BURST = Decimal(5)
"""USD a minute, the limit."""


def of_function(alarm: Mapping[str, Any], metric: str) -> Series:
    (dimension,) = alarm["Dimensions"]
    return Series("AWS/Lambda", metric, frozenset({("FunctionName", dimension["Value"])}))


def function_case(metric: str) -> Callable[[Mapping[str, Any]], Case]:
    def case(alarm: Mapping[str, Any]) -> Case:
        own, other = of_function(alarm, metric), Series("AWS/Lambda", metric, frozenset({("FunctionName", "theirs")}))
        return Case([{own: [NONE, [0, 0, 1, 0]]}], [{own: [[0, 0]]}, {own: [NONE]}, {}, {other: [[1]]}])

    return case


def heartbeat(alarm: Mapping[str, Any]) -> Case:
    own, once = of_function(alarm, "Invocations"), [1.0]
    return Case(
        [{}, {own: [once, NONE, NONE, NONE, NONE, NONE]}, {own: [once, [0], [0], NONE, NONE, [0]]}],
        [{own: [once] * 5}, {own: [NONE, once, NONE, NONE, NONE, NONE]}, {own: [NONE, NONE, NONE, NONE, once]}],
    )


def undelivered(alarm: Mapping[str, Any]) -> Case:
    (dimension,) = alarm["Dimensions"]
    own = Series("AWS/SQS", "ApproximateNumberOfMessagesVisible", frozenset({("QueueName", dimension["Value"])}))
    return Case([{own: [[0], [1]]}, {own: [[0, 3, 0]]}], [{own: [[1], [0]]}, {own: [[0]]}, {}])


def tripwire(namespace: str, metric: str, names: Sequence[str]) -> Callable[[Mapping[str, Any]], Case]:
    def case(_alarm: Mapping[str, Any]) -> Case:
        everything = Series(namespace, metric)
        of_a_model = Series(namespace, metric, frozenset((name, "x") for name in names))
        return Case(
            [{everything: [[1]]}, {everything: [[1], NONE, NONE, NONE, NONE]}],
            [{}, {everything: [[1], NONE, NONE, NONE, NONE, NONE]}, {of_a_model: [[9]]}],
        )

    return case


def limit(metric: str, usd: float) -> Callable[[Mapping[str, Any]], Case]:
    def case(_alarm: Mapping[str, Any]) -> Case:
        own = Series("BedrockSpendGuardrail", metric, frozenset({("service", "meter")}))
        elsewhere = Series("BedrockSpendGuardrail", metric)
        return Case(
            [{own: [[0], [usd]]}, {own: [[usd - 1, usd + 1]]}],
            [{own: [[usd + 1], [usd - 0.01]]}, {}, {elsewhere: [[usd * 2]]}],
        )

    return case


def tokens(namespace: str, metric: str, names: Sequence[str], price: Decimal) -> Callable[[Mapping[str, Any]], Case]:
    """A burst of one kind, of one model in one region, at the dearest price; late by two minutes or not."""

    def case(alarm: Mapping[str, Any]) -> Case:
        burst = float(BURST / price) + 1
        one, other = (Series(namespace, metric, frozenset((name, model) for name in names)) for model in ("a", "b"))
        everything = Series(namespace, metric)
        share = alarm["Threshold"]
        rings: list[Data] = [
            {one: [[burst]]},
            {one: [[burst], [0], NONE]},
            {one: [[share], [share + 1]], other: [[1]] * 2},
        ]
        # Another level of the same tokens would count them twice.
        quiet: list[Data] = [{}, {one: [[share]] * 3}, {everything: [[burst]]}, {one: [[burst], NONE, NONE, NONE]}]
        # Each for itself within the share, together not; a share below one image is none.
        together: Data = {one: [[share]], other: [[share]]}
        if "GROUP BY" in alarm["Metrics"][0]["Expression"]:
            quiet.append(together)
        elif share:
            rings.append(together)
        return Case(rings, quiet)

    return case


def log_delivery(alarm: Mapping[str, Any]) -> Case:
    logs, s3 = (Series("AWS/Bedrock", f"ModelInvocationLogs{where}DeliveryFailure") for where in ("CloudWatch", "S3"))
    its, other = (s3, logs) if alarm["AlarmName"].endswith("-s3") else (logs, s3)
    return Case(
        [{its: [[1]]}, {its: [[1, 1]], other: [[2]]}, {its: [[1], NONE, NONE]}],
        [{}, {its: [[0]], other: [[1]]}, {its: [[1], NONE, NONE, NONE]}],
    )


BEDROCK, MANTLE = ("AWS/Bedrock", ["ModelId"]), ("AWS/BedrockMantle", ["Project", "Model"])
MILLION = Decimal(1_000_000)
TOKENS = {
    "tokens-bedrock-input": (*BEDROCK, "InputTokenCount", DEAREST.input / MILLION),
    "tokens-bedrock-output": (*BEDROCK, "OutputTokenCount", DEAREST.output / MILLION),
    "tokens-bedrock-cache-read": (*BEDROCK, "CacheReadInputTokenCount", DEAREST.cache_read / MILLION),
    "tokens-bedrock-cache-write": (*BEDROCK, "CacheWriteInputTokenCount", DEAREST.cache_write / MILLION),
    "tokens-bedrock-image": (*BEDROCK, "OutputImageCount", DEAREST.image),
    # What mantle calls input may all be written to a cache.
    "tokens-mantle-input": (*MANTLE, "InputTokens", DEAREST.cache_write / MILLION),
    "tokens-mantle-output": (*MANTLE, "OutputTokens", DEAREST.output / MILLION),
}
CASES: Mapping[str, Callable[[Mapping[str, Any]], Case]] = {
    "*-errors": function_case("Errors"),
    "*-throttles": function_case("Throttles"),
    "heartbeat": heartbeat,
    "undelivered": undelivered,
    "calls-bedrock": tripwire("AWS/Bedrock", "Invocations", ["ModelId"]),
    "calls-mantle": tripwire("AWS/BedrockMantle", "Inferences", ["Project", "Model"]),
    "limit-minute": limit("BurnUsdPerMinute", 5),
    "limit-hour": limit("SpendHourUsd", 20),
    "limit-day": limit("SpendDayUsd", 50),
    "limit-month": limit("SpendMonthUsd", 500),
    "log-delivery-*": log_delivery,
    **{
        f"{slug}{suffix}": tokens(namespace, metric, names, price)
        for slug, (namespace, names, metric, price) in TOKENS.items()
        for suffix in ("", "-by-model")
    },
}


def case_of(slug):
    """Return what makes the one case of an alarm; an alarm without one fails here."""
    (found,) = [make for pattern, make in CASES.items() if fnmatchcase(slug, pattern)]
    return found


def test_every_alarm_rings_at_what_it_is_for_and_at_nothing_else(stacks):
    assert len(stacks) == 4
    used = set()
    for region, stack in stacks.items():
        for slug, alarm in slugs(stack).items():
            case = case_of(slug)(alarm)
            assert case.rings
            assert case.quiet
            for data in case.rings:
                assert state(alarm, data) == "ALARM", (region, slug, data)
            for data in case.quiet:
                assert state(alarm, data) != "ALARM", (region, slug, data)
            used |= {pattern for pattern in CASES if fnmatchcase(slug, pattern)}
    assert used == set(CASES)


def test_the_evaluator_tells_missing_from_zero_and_ignores_nothing():
    """The judge of the others: one metric, three minutes, each way to treat what is missing."""
    one = {"Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60, "Threshold": 1}
    one |= {"ComparisonOperator": "LessThanThreshold", "EvaluationPeriods": 2}
    series = Series("n", "m")
    for treated, expected in (
        ("breaching", ["ALARM", "ALARM", "OK"]),
        ("notBreaching", ["OK", "OK", "OK"]),
        ("missing", ["INSUFFICIENT_DATA", "OK", "OK"]),
        ("ignore", ["ALARM", "ALARM", "OK"]),
    ):
        data: list[Data] = [{}, {series: [[0], NONE]}, {series: [[0], [0.5, 0.5]]}]
        assert [state(one | {"TreatMissingData": treated}, each, before="ALARM") for each in data] == expected
    assert state(one, {series: [[0], [0]]}) == "ALARM"
    assert state(one | {"DatapointsToAlarm": 1}, {series: [[0], [1]]}) == "ALARM"


def test_a_figure_nobody_publishes_is_no_all_clear(stacks):
    for slug, alarm in slugs(stacks[REGION]).items():
        if slug.startswith("limit-") or slug == "undelivered":
            assert [state(alarm, {}, before=each) for each in ("ALARM", "OK")] == ["ALARM", "OK"], slug


# --- what it says, and to whom ---------------------------------------------------------------------------------


def test_every_alarm_says_what_it_means_and_where_its_runbook_is(stacks):
    named = set()
    for stack in stacks.values():
        for slug, alarm in slugs(stack).items():
            text = alarm["AlarmDescription"]
            assert len(text) <= 1024, slug
            (runbook,) = re.findall(r" Runbook: docs/runbooks/([a-z-]+)\.md$", text)
            assert slug == runbook or slug.endswith(f"-{runbook}") or slug.startswith(runbook.removesuffix("s")), slug
            assert (RUNBOOKS / f"{runbook}.md").is_file(), slug
            named.add(runbook)
    assert {each.stem for each in RUNBOOKS.glob("*.md")} == named | MAILS


@pytest.mark.parametrize("file", sorted(RUNBOOKS.glob("*.md")), ids=lambda file: file.stem)
def test_a_runbook_fits_a_screen_and_says_what_to_do(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    headings = [each.removeprefix("## ") for each in lines if each.startswith("## ")]
    assert headings == ["What it means", "Look first", "Do", "When it is noise"]
    assert 15 <= len(lines) <= 40
    assert "```" in "\n".join(lines) or "console" in "\n".join(lines).lower()


def test_faults_mail_at_home_and_everything_else_is_silent(stacks):
    home = stacks[REGION]
    topic = home.resolved({"Ref": home.named("Notices", "AWS::SNS::Topic")})
    for region, stack in stacks.items():
        for slug, alarm in slugs(stack).items():
            silent = slug.startswith(("calls-", "tokens-")) or region != REGION
            assert alarm.get("AlarmActions", []) == ([] if silent else [topic]), (region, slug)
            # An alarm that ends does nothing.
            assert not {"OKActions", "InsufficientDataActions"} & set(alarm)
            assert alarm.get("ActionsEnabled", True) is True


def test_every_function_has_both_alarms_and_every_region_its_own(stacks, shipped, varied):
    for stack in (stacks[REGION], shipped, varied):
        words = set(stack.functions())
        found = set(slugs(stack))
        assert {f"{word}-{kind}" for word in words for kind in ("errors", "throttles")} <= found
        assert {"heartbeat", "undelivered"} <= found
        assert {each for each in found if each.startswith("limit-")} == {
            f"limit-{each.window}" for each in stack.configuration.settings.limits
        }
    in_a_region = {"calls-bedrock", "calls-mantle", "undelivered", *LOG_DELIVERY}
    in_a_region |= {f"{each}{suffix}" for each in TOKENS for suffix in ("", "-by-model")}
    for region, stack in stacks.items():
        assert set(slugs(stack)) >= in_a_region
        assert region == REGION or set(slugs(stack)) == in_a_region


def test_tokens_and_log_are_alarmed_only_where_it_was_asked_for(shipped, satellites):
    for stack in (shipped, *satellites.values()):
        assert not [slug for slug in slugs(stack) if slug.startswith("tokens-") or slug in LOG_DELIVERY]


def test_a_meter_just_deployed_is_not_silent_nor_one_that_is_being_removed(each_stack):
    (name,) = [
        name
        for name, each in each_stack.of_type("AWS::CloudWatch::Alarm").items()
        if each["Properties"]["AlarmName"].endswith("-heartbeat")
    ]
    alarm = each_stack.of_type("AWS::CloudWatch::Alarm")[name]["Properties"]
    warm_up = alarm["WarmUpConfiguration"]
    # As soon as there are five minutes of data it looks; without any it must look in the end.
    assert warm_up["OnlyStartEvaluatingAfterWarmUpPeriodEnds"] is False
    assert warm_up["WarmUpPeriodDurationInMinutes"] > alarm["EvaluationPeriods"]
    assert each_stack.named("ClockMeter", "AWS::Events::Rule") in each_stack.needs(name)
    assert alarm["Dimensions"][0]["Value"] == {"Ref": each_stack.functions()["meter"].logical_id}


def test_no_burst_of_one_kind_in_one_region_stays_below_its_alarm(stacks):
    """Every share is below the burst, and all shares together are within it, at the prices of the template."""
    total = Decimal(0)
    for stack in stacks.values():
        for slug, (_, _, _, price) in TOKENS.items():
            threshold = Decimal(slugs(stack)[slug]["Threshold"])
            assert threshold * price < BURST
            # The same for one model alone.
            assert slugs(stack)[f"{slug}-by-model"]["Threshold"] == threshold
            total += threshold * price
    assert BURST * Decimal("0.8") < total <= BURST


def test_a_satellite_with_every_alarm_still_goes_without_a_bucket(tmp_path):
    """The largest: where IAM's events appear, and watched; see `test_template_checks`."""
    for region, stack in synthesize(every_option(), tmp_path, home="eu-west-1").items():
        assert region == "eu-west-1" or len(json.dumps(stack.json, indent=1)) < 50 * 1024, region


# --- what is not delivered -------------------------------------------------------------------------------------


def test_whatever_cannot_be_delivered_is_kept_in_the_region(stacks, each_stack):
    for stack in (*stacks.values(), each_stack):
        queue, resource = stack.only("AWS::SQS::Queue")
        properties = resource["Properties"]
        assert properties["QueueName"] == stack.configuration.settings.alarm("undelivered")
        assert properties["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert properties.get("SqsManagedSseEnabled") is True or "KmsMasterKeyId" in properties
        kept = {"Fn::GetAtt": [queue, "Arn"]}
        for name, rule in stack.of_type("AWS::Events::Rule").items():
            for target in rule["Properties"]["Targets"]:
                assert target["DeadLetterConfig"] == {"Arn": kept}, name
        for name, each in stack.of_type("AWS::SNS::Subscription").items():
            if each["Properties"]["Protocol"] == "lambda":
                assert each["Properties"]["RedrivePolicy"] == {"deadLetterTargetArn": kept}, name


def test_what_a_function_fails_on_is_kept_and_a_tick_does_not_wait_for_hours(each_stack):
    queue, _ = each_stack.only("AWS::SQS::Queue")
    found = {}
    for each in each_stack.of_type("AWS::Lambda::EventInvokeConfig").values():
        properties = each["Properties"]
        assert properties["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": [queue, "Arn"]}}}
        found[properties["FunctionName"]["Ref"]] = properties
    functions = each_stack.functions()
    assert set(found) == {each.logical_id for each in functions.values()}
    within = {word: found[each.logical_id].get("MaximumEventAgeInSeconds") for word, each in functions.items()}
    assert {word: age for word, age in within.items() if age is not None} == {"meter": 600}


def test_only_our_rules_and_topics_may_send_to_the_queue_and_only_encrypted(stacks, each_stack):
    for stack in (*stacks.values(), each_stack):
        _, policy = stack.only("AWS::SQS::QueuePolicy")
        queue, _ = stack.only("AWS::SQS::Queue")
        prefix = stack.configuration.settings.prefix
        # SQS refuses a policy of more than 20 statements: that there are many rules must not make it longer.
        deny, *allow = policy["Properties"]["PolicyDocument"]["Statement"]
        assert all(each["Resource"] == {"Fn::GetAtt": [queue, "Arn"]} for each in (deny, *allow))
        assert (deny["Effect"], deny["Action"], deny["Principal"]) == ("Deny", "sqs:*", {"AWS": "*"})
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert [(each["Effect"], each["Action"], each["Principal"]["Service"]) for each in allow] == [
            ("Allow", "sqs:SendMessage", "events.amazonaws.com"),
            ("Allow", "sqs:SendMessage", "sns.amazonaws.com"),
        ]
        for each, name in zip(allow, (f"rule/{prefix}-*", f"{prefix}-*"), strict=True):
            assert list(each["Condition"]) == ["ArnLike"]
            source = stack.resolved(each["Condition"]["ArnLike"]["aws:SourceArn"])
            assert source.split(":", 5)[5] == name
        # So they are let in by how CloudFormation names them: after the stack.
        assert not any("Name" in each["Properties"] for each in stack.of_type("AWS::Events::Rule").values())


def test_a_home_region_that_is_not_watched_has_no_alarms_of_a_region(tmp_path):
    text = EVERY_OPTION + OPTIONS if "[alarms]" not in EVERY_OPTION else EVERY_OPTION
    stacks = synthesize(text, tmp_path)
    assert [slug for slug in slugs(stacks[REGION]) if slug.startswith(("tokens-", "calls-", "log-"))] == []
    assert {"calls-bedrock", "tokens-mantle-output-by-model", *LOG_DELIVERY} <= set(slugs(stacks["eu-central-1"]))
