"""Reserved concurrency of tagged functions: how far it is lowered, whose, and that it comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from lambdas.aws.concurrency import TAG, Concurrency
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.principals import Spared
from tests.answering import answering, refusal

NOBODY = Spared()


@dataclass
class Region:
    """Functions of a region with their tags."""

    reserved: dict[str, int | None] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    """Operation, or operation and function, to error code."""
    writes: list[str] = field(default_factory=list)

    def add(self, name: str, reserved: int | None, tag: str | None = "2") -> None:
        self.reserved[name] = reserved
        if tag is not None:
            self.tags[name] = tag

    def __call__(self, operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        name = asked.get("FunctionName", asked.get("PaginationToken", ""))
        for refused in (operation, f"{operation} {name}"):
            if refused in self.refuses:
                raise refusal(self.refuses[refused], operation)
        if operation == "GetResources":
            return self._page(asked)
        if name not in self.reserved:
            raise refusal("ResourceNotFoundException", operation)
        if operation == "PutFunctionConcurrency":
            self.reserved[name] = asked["ReservedConcurrentExecutions"]
            self.writes.append(f"{name} {self.reserved[name]}")
        if operation == "DeleteFunctionConcurrency":
            self.reserved[name] = None
            self.writes.append(f"{name} none")
        now = self.reserved[name]
        return {} if now is None else {"ReservedConcurrentExecutions": now}

    def _page(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        assert asked["ResourceTypeFilters"] == ["lambda:function"]
        ((wanted,),) = [each.values() for each in asked["TagFilters"]]
        found = [
            {
                "ResourceARN": f"arn:aws:lambda:us-east-1:123456789012:function:{name}",
                "Tags": [{"Key": "team", "Value": "x"}, {"Key": wanted, "Value": value}],
            }
            for name, value in self.tags.items()
        ]
        first = int(asked["PaginationToken"] or 0)
        more = str(first + 2) if first + 2 < len(found) else ""
        return {"ResourceTagMappingList": found[first : first + 2], "PaginationToken": more}


def concurrency_of(**regions: Region) -> Concurrency:
    by_name = {name.replace("_", "-"): each for name, each in regions.items()}
    lambdas = {name: answering("lambda", each, name) for name, each in by_name.items()}
    tagging = {name: answering("resourcegroupstaggingapi", each, name) for name, each in by_name.items()}
    return Concurrency(lambdas.__getitem__, tagging.__getitem__, tuple(by_name), own_prefix="bedrock-spend-")


@pytest.fixture
def region():
    return Region()


def act(lever: Concurrency, level: Level):
    found = lever.find(level, NOBODY)
    for each in found.to_hold:
        lever.hold(each, level)
    return found


def test_a_step_down_lowers_to_the_tags_value_and_never_raises(region):
    for name, reserved in {"none": None, "more": 50, "same": 2, "less": 1, "zero": 0}.items():
        region.add(name, reserved)
    found = act(concurrency_of(us_east_1=region), Level.STEP_DOWN)
    assert region.reserved == {"none": 2, "more": 2, "same": 2, "less": 1, "zero": 0}
    assert [(each.key, each.before["reserved"]) for each in found.to_hold] == [
        ("us-east-1/none", None),
        ("us-east-1/more", 50),
    ]
    assert found.to_hold[0].words == "Lambda function none in us-east-1"


def test_a_stop_lets_none_run_whatever_the_tag_says_and_after_a_step_down_too(region):
    region.add("a", 50, "nonsense")
    region.add("b", None)
    region.add("c", 0)
    lever = concurrency_of(us_east_1=region)
    act(lever, Level.STEP_DOWN)
    found = act(lever, Level.STOP)
    assert region.reserved == {"a": 0, "b": 0, "c": 0}
    assert [each.key for each in found.to_hold] == ["us-east-1/a", "us-east-1/b"]
    assert lever.find(Level.STOP, NOBODY).to_hold == lever.find(Level.STEP_DOWN, NOBODY).to_hold == ()


def test_functions_without_the_tag_and_the_guardrails_own_are_left(region):
    region.add("bystander", None, tag=None)
    region.add("bedrock-spend-kill", None)
    region.add("bedrock-spend-guardrail-Meter-1A2B", None)
    found = act(concurrency_of(us_east_1=region), Level.STOP)
    assert (found.to_hold, region.writes) == ((), [])


@pytest.mark.parametrize("value", ["", "-1", "2.5", "two", " 2", "٢", "1e3", "9" * 10])
def test_a_tag_that_is_no_whole_number_is_reported_with_the_rule(region, value):
    region.add("agent", 50, value)
    found = act(concurrency_of(us_east_1=region), Level.STEP_DOWN)
    assert (found.to_hold, region.writes) == ((), [])
    assert dict(found.uncovered) == {
        "Lambda function agent in us-east-1": f'its tag {TAG} = "{value}" must be a whole number, 0 or more'
    }


def test_restoring_puts_the_exact_value_back_or_none(region):
    region.add("none", None)
    region.add("some", 50)
    lever = concurrency_of(us_east_1=region)
    held = act(lever, Level.STOP).to_hold
    for each in (*held, *held):
        lever.restore(each)
    assert region.reserved == {"none": None, "some": 50}
    assert region.writes[2:] == ["none none", "some 50"]


def test_every_page_of_every_region_is_read(region):
    other = Region()
    for number in range(5):
        region.add(f"a{number}", None)
        other.add(f"b{number}", None)
    found = concurrency_of(us_east_1=region, eu_west_3=other).find(Level.STOP, NOBODY)
    assert [each.key for each in found.to_hold] == [
        *(f"us-east-1/a{number}" for number in range(5)),
        *(f"eu-west-3/b{number}" for number in range(5)),
    ]


def test_a_region_or_function_that_cannot_be_read_is_unread_and_the_others_are_held(region):
    for number in range(3):
        region.add(f"a{number}", None)
    region.refuses = {"GetFunctionConcurrency a0": "TooManyRequestsException", "GetResources 2": "ThrottledException"}
    other = Region()
    other.add("b", None)
    found = concurrency_of(us_east_1=region, eu_west_3=other).find(Level.STOP, NOBODY)
    assert [each.key for each in found.to_hold] == ["us-east-1/a1", "eu-west-3/b"]
    assert dict(found.unread) == {
        "Lambda function a0 in us-east-1": "lambda:GetFunctionConcurrency: TooManyRequestsException: no",
        f"Lambda functions tagged {TAG} in us-east-1": "tag:GetResources: ThrottledException: no",
    }


def test_a_function_that_is_gone_is_left(region):
    region.add("agent", 5)
    lever = concurrency_of(us_east_1=region)
    (held,) = lever.find(Level.STOP, NOBODY).to_hold
    del region.reserved["agent"]
    assert lever.find(Level.STOP, NOBODY).unread == lever.find(Level.STOP, NOBODY).uncovered == {}
    lever.hold(held, Level.STOP)
    lever.restore(held)
    assert region.writes == []


def test_a_late_step_down_does_not_raise_what_a_stop_lowered(region):
    region.add("agent", 50)
    lever = concurrency_of(us_east_1=region)
    (held,) = lever.find(Level.STEP_DOWN, NOBODY).to_hold
    lever.hold(held, Level.STOP)
    lever.hold(held, Level.STEP_DOWN)
    lever.hold(held, Level.RELEASED)
    assert region.reserved == {"agent": 0}


def test_a_reservation_that_aws_refuses_is_an_error(region):
    region.add("agent", None)
    lever = concurrency_of(us_east_1=region)
    (held,) = lever.find(Level.STEP_DOWN, NOBODY).to_hold
    region.refuses = {"PutFunctionConcurrency": "InvalidParameterValueException"}
    with pytest.raises(AwsCallError, match="lambda:PutFunctionConcurrency: InvalidParameterValueException"):
        lever.hold(held, Level.STEP_DOWN)


def test_without_regions_or_a_level_nothing_is_looked_at(region):
    region.add("agent", None)
    region.refuses = {"GetResources": "AccessDenied"}
    assert concurrency_of().find(Level.STOP, NOBODY).to_hold == ()
    assert not concurrency_of(us_east_1=region).find(Level.RELEASED, NOBODY).unread
