"""The events of Cost Anomaly Detection: Bedrock's and ours, or nothing."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core.anomaly import Anomaly, is_bedrock, parse_anomaly
from lambdas.core.errors import RefusedError
from tests.conftest import ACCOUNT, event

MONITOR = "arn:aws:ce::123456789012:anomalymonitor/abcdef12-1234-4ea0-84cc-918a97d736ef"
OTHER = "999999999999"
MODEL = "Claude Opus 5.5 (Amazon Bedrock Edition)"


def parse(raw: dict[str, Any]) -> Anomaly | None:
    return parse_anomaly(raw, account_id=ACCOUNT, monitor_arn=MONITOR, least_usd=Decimal(100))


def cause(service: str, usd: float, account: str = ACCOUNT) -> dict[str, Any]:
    return {"service": service, "linkedAccount": account, "impact": {"contribution": usd}}


@pytest.fixture
def raw() -> dict[str, Any]:
    found: dict[str, Any] = event("cost_anomaly.json")
    return found


def test_the_event_aws_sends_is_read(raw: dict[str, Any]):
    found = parse(raw)
    assert found is not None
    assert (found.id, found.impact_usd, found.services) == (
        "12345678-abcd-ef12-3456-987654321a12",
        Decimal(1001),
        (MODEL,),
    )
    assert found.link.startswith("https://console.aws.amazon.com/cost-management/")


@pytest.mark.parametrize(
    ("service", "is_one"),
    [
        ("Amazon Bedrock", True),
        ("Amazon Bedrock AgentCore", True),
        ("Amazon Bedrock Service", True),
        (MODEL, True),
        ("Amazon BedrockX", False),
        ("AWS Marketplace", False),
        ("Claude (Amazon Bedrock Edition) look-alike", False),
        ("amazon bedrock", False),
        ("", False),
    ],
)
def test_which_services_are_bedrocks(service: str, is_one: bool):
    assert is_bedrock(service) is is_one


@pytest.mark.parametrize(
    ("dimension", "causes", "impact"),
    [
        ("Amazon Bedrock", [], 1001),
        ("Amazon Bedrock", [cause("Amazon Bedrock", 601)], 1001),
        # A monitor of accounts, tags or cost categories: Bedrock's part alone.
        (ACCOUNT, [cause("Amazon EC2", 601), cause(MODEL, 300), cause("Amazon Bedrock", 50)], 350),
        ("", [cause("Amazon Bedrock AgentCore", 601)], 601),
        # A payer's monitor sees other accounts.
        ("Amazon Bedrock", [cause("Amazon Bedrock", 400, OTHER), cause("Amazon Bedrock", 601)], 601),
        ("Amazon Bedrock", [cause("Amazon Bedrock", 601, OTHER)], None),
        ("Amazon EC2", [cause("Amazon EC2", 601)], None),
        ("Amazon EC2", [cause("Amazon EC2", 601), cause("Amazon Bedrock", 99)], None),
        # AWS's parts may add up to more than the whole.
        ("", [cause("Amazon Bedrock", 900), cause(MODEL, 900)], 1001),
    ],
)
def test_only_what_is_bedrocks_and_ours_counts(
    raw: dict[str, Any], dimension: str, causes: list[dict[str, Any]], impact: int | None
):
    raw["detail"] |= {"dimensionValue": dimension, "rootCauses": causes}
    found = parse(raw)
    assert (None if found is None else found.impact_usd) == (None if impact is None else Decimal(impact))


@pytest.mark.parametrize("usd", [99.99, 0, -5])
def test_what_is_below_the_threshold_is_not_told(raw: dict[str, Any], usd: float):
    raw["detail"]["impact"]["totalImpact"] = usd
    assert parse(raw) is None


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("source",), "aws.cloudwatch"),
        (("detail-type",), "Anomaly Ended"),
        (("account",), OTHER),
        (("detail", "accountId"), OTHER),
        (("detail", "monitorArn"), MONITOR.replace("abcdef12", "00000000")),
        (("detail",), None),
        (("detail",), []),
        (("detail", "impact"), 5),
        (("detail", "impact", "totalImpact"), "1001"),
        (("detail", "impact", "totalImpact"), True),
        (("detail", "impact", "totalImpact"), float("nan")),
        (("detail", "impact", "totalImpact"), float("inf")),
        (("detail", "rootCauses"), None),
        (("detail", "rootCauses"), [None]),
        (("detail", "rootCauses"), [{"service": 5}]),
        (("detail", "anomalyId"), None),
        (("detail", "anomalyId"), "two words"),
        (("detail", "anomalyId"), ""),
        (("time",), "yesterday"),
        (("time",), "2026-11-22T18:00:00"),
        (("id",), 5),
    ],
)
def test_anything_less_is_refused(raw: dict[str, Any], where: tuple[str, ...], value: object):
    changed = deepcopy(raw)
    place = changed
    for each in where[:-1]:
        place = place[each]
    place[where[-1]] = value
    with pytest.raises(RefusedError):
        parse(changed)
    del place[where[-1]]
    with pytest.raises(RefusedError):
        parse(changed)


def test_a_name_with_lines_in_it_makes_no_lines_in_a_mail(raw: dict[str, Any]):
    raw["detail"]["dimensionValue"] = "Amazon Bedrock x\nStop now:\nhttps://evil" + "y" * 1000
    found = parse(raw)
    assert found is not None
    assert "\n" not in str(found)
    assert len(str(found)) < 500
