"""What Cost Explorer is asked, how often, and what is made of its answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders
from botocore.stub import Stubber

from lambdas.aws.cost_explorer import ONCE, REGION, BillError, CostExplorer
from lambdas.core.crosscheck import Charge
from lambdas.core.errors import AwsCallError
from tests.conftest import ACCOUNT, event

FIRST, LAST = date(2026, 11, 18), date(2026, 11, 20)
OPUS = "Claude Opus 5.5 (Amazon Bedrock Edition)"

BY_SERVICE = {
    "TimePeriod": {"Start": "2026-11-18", "End": "2026-11-21"},
    "Granularity": "DAILY",
    "Metrics": ["UnblendedCost"],
    "Filter": {
        "And": [
            {"Dimensions": {"Key": "LINKED_ACCOUNT", "Values": [ACCOUNT]}},
            {
                "Or": [
                    {
                        "Dimensions": {
                            "Key": "SERVICE",
                            "Values": ["Amazon Bedrock", "Amazon Bedrock Service", "Amazon Bedrock AgentCore"],
                        }
                    },
                    {"Dimensions": {"Key": "BILLING_ENTITY", "Values": ["AWS Marketplace"]}},
                ]
            },
            {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund", "Tax"]}}},
        ]
    },
    "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
}
BY_MODEL = {
    **BY_SERVICE,
    "Filter": {"And": [BY_SERVICE["Filter"]["And"][0], BY_SERVICE["Filter"]["And"][2]]},  # type: ignore[index]
    "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "PRODUCT_ATTRIBUTE", "Key": "model"}],
}


@contextmanager
def answering(*pages: tuple[dict[str, Any], dict[str, Any]]) -> Iterator[CostExplorer]:
    """Cost Explorer with a page for each request expected; it refuses any other, and all must be asked for."""
    client = boto3.client("ce", region_name=REGION, config=ONCE)
    with Stubber(client) as stub:
        for expected, page in pages:
            stub.add_response("get_cost_and_usage", page, expected)
        yield CostExplorer(client, account_id=ACCOUNT)
        stub.assert_no_pending_responses()


def page(usd: dict[str, str], day: str = "2026-11-18", **more: Any) -> dict[str, Any]:
    groups = [
        {"Keys": [name], "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": "USD"}}}
        for name, amount in usd.items()
    ]
    result = {"TimePeriod": {"Start": day, "End": day}, "Total": {}, "Groups": groups, "Estimated": False}
    return {"ResultsByTime": [result], **more}


def broken(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    answer: dict[str, Any] = deepcopy(event("cost_by_service.json"))
    change(answer["ResultsByTime"][0]["Groups"][0])
    return answer


def test_a_bill_is_asked_for_without_credits_of_this_account_alone_marketplace_included():
    with answering((BY_SERVICE, event("cost_by_service.json"))) as bill:
        found = bill.by_service(FIRST, LAST)
    assert found.gaps == ()
    assert [(each.day, dict(each.usd), each.estimated) for each in found.days] == [
        (FIRST, {Charge("Amazon Bedrock"): Decimal("4.0000000112"), Charge(OPUS): Decimal("16.5")}, False),
        # A discount is a negative amount; it is on the bill.
        (date(2026, 11, 19), {Charge("Amazon Bedrock"): Decimal("5.25"), Charge(OPUS): Decimal("-0.25")}, True),
        # No groups are no figure, which is not zero, whatever the total says.
        (LAST, {}, True),
    ]


def test_other_marketplace_products_are_not_bedrocks():
    with answering((BY_SERVICE, page({"Somebody's Bedrock Advisor": "5", OPUS: "1"}))) as bill:
        assert bill.by_service(FIRST, LAST).days[0].usd == {Charge(OPUS): 1}


def test_models_are_asked_for_without_a_filter_by_service_which_would_be_refused():
    with answering((BY_MODEL, event("cost_by_model.json"))) as bill:
        found = bill.by_model(FIRST, LAST)
    assert found.days[0].usd == {
        Charge("Amazon Bedrock"): Decimal("0.5"),
        Charge("Amazon Bedrock", "Nova Pro"): Decimal("3.5"),
        Charge(OPUS, "Claude Opus 5.5"): Decimal("16.5"),
    }


def test_a_second_page_is_read_and_a_day_may_go_on_over_it():
    begun = page({"Amazon Bedrock": "1"}, NextPageToken="more")
    begun["ResultsByTime"][0]["Estimated"] = True
    pages = (
        (BY_SERVICE, begun),
        ({**BY_SERVICE, "NextPageToken": "more"}, page({OPUS: "2"})),
    )
    with answering(*pages) as bill:
        found = bill.by_service(FIRST, LAST)
    assert found.gaps == ()
    assert [each.usd for each in found.days] == [{Charge("Amazon Bedrock"): 1, Charge(OPUS): 2}]
    assert found.days[0].estimated


def test_a_third_page_is_never_asked_for_and_its_lack_is_a_gap():
    pages = (
        (BY_SERVICE, page({"Amazon Bedrock": "1"}, NextPageToken="2")),
        ({**BY_SERVICE, "NextPageToken": "2"}, page({OPUS: "2"}, NextPageToken="3")),
    )
    with answering(*pages) as bill:
        assert "lower bound" in bill.by_service(FIRST, LAST).gaps[0]
        # Nor is anything else: the requests of a run are counted together.
        assert "used up" in bill.by_model(FIRST, LAST).gaps[0]


@pytest.mark.parametrize("code", ["ThrottlingException", "LimitExceededException", "AccessDeniedException"])
def test_a_request_that_fails_is_not_repeated_and_raised_by_name(code: str):
    client = boto3.client("ce", region_name=REGION, config=ONCE)
    sent: list[object] = []

    def refuse(request: object, **_: object) -> Any:
        sent.append(request)
        raw: Any = SimpleNamespace(stream=lambda: iter([f'{{"__type": "{code}", "message": "not now"}}'.encode()]))
        return AWSResponse("https://ce.us-east-1.amazonaws.com", 400, HTTPHeaders(), raw)

    client.meta.events.register("before-send.ce.*", refuse)
    with pytest.raises(AwsCallError, match=f"ce:GetCostAndUsage: {code}"):
        CostExplorer(client, account_id=ACCOUNT).by_service(FIRST, LAST)
    assert len(sent) == 1


def test_the_one_endpoint_is_asked_wherever_the_guardrail_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    client = boto3.client("ce", region_name=REGION, config=ONCE)
    assert client.meta.endpoint_url == "https://ce.us-east-1.amazonaws.com"
    assert client.meta.config.retries == {"mode": "standard", "total_max_attempts": 1}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        lambda group: group["Metrics"]["UnblendedCost"].update(Unit="EUR"),
        lambda group: group["Metrics"]["UnblendedCost"].update(Unit="N/A"),
        lambda group: group["Metrics"]["UnblendedCost"].update(Amount="NaN"),
        lambda group: group["Metrics"]["UnblendedCost"].update(Amount="1e999999999"),
        lambda group: group["Metrics"]["UnblendedCost"].update(Amount=""),
        lambda group: group["Metrics"]["UnblendedCost"].pop("Amount"),
        lambda group: group["Metrics"].clear(),
        lambda group: group.pop("Metrics"),
    ],
)
def test_what_is_no_amount_in_usd_is_refused_and_never_0(change: Callable[[dict[str, Any]], None]):
    with answering((BY_SERVICE, broken(change))) as bill, pytest.raises(BillError, match=r"not an amount in USD"):
        bill.by_service(FIRST, LAST)


def test_a_figure_that_comes_twice_counts_once_and_two_figures_for_one_thing_are_refused():
    twice = page({"Amazon Bedrock": "7"})
    twice["ResultsByTime"] *= 2
    with answering((BY_SERVICE, twice)) as bill:
        assert bill.by_service(FIRST, LAST).days[0].usd == {Charge("Amazon Bedrock"): 7}
    other = page({"Amazon Bedrock": "7"})
    other["ResultsByTime"] += page({"Amazon Bedrock": "8"})["ResultsByTime"]
    with answering((BY_SERVICE, other)) as bill, pytest.raises(BillError, match="two figures for Amazon Bedrock"):
        bill.by_service(FIRST, LAST)


@pytest.mark.parametrize(
    ("first", "last", "end"),
    [("2028-02-28", "2028-02-29", "2028-03-01"), ("2026-12-25", "2026-12-31", "2027-01-01")],
)
def test_the_end_of_a_request_is_the_day_after_the_last(first: str, last: str, end: str):
    expected = {**BY_SERVICE, "TimePeriod": {"Start": first, "End": end}}
    with answering((expected, page({}))) as bill:
        bill.by_service(date.fromisoformat(first), date.fromisoformat(last))
