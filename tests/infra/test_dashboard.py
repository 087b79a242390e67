"""The dashboard: what it shows is there, and nothing on it acts or costs."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from lambdas.core.decision import Decision
from lambdas.core.levels import Level
from lambdas.core.limits import Verdict
from lambdas.core.own_cost import LARGEST_GB
from lambdas.core.spend import Spend
from lambdas.core.windows import Window
from lambdas.metering import Tick
from tests.fakes import moment
from tests.infra.conftest import synthesized


@pytest.fixture
def widgets(each_stack):
    """What the dashboard is made of, as CloudWatch gets it."""
    _, dashboard = each_stack.only("AWS::CloudWatch::Dashboard")
    return json.loads(each_stack.resolved(dashboard["Properties"]["DashboardBody"]))["widgets"]


def titled(widgets, words):
    (found,) = [each for each in widgets if words in each["properties"]["title"]]
    return found


def test_it_is_named_by_the_prefix_and_the_output_leads_to_it(each_stack):
    _, dashboard = each_stack.only("AWS::CloudWatch::Dashboard")
    prefix = each_stack.configuration.settings.prefix
    assert dashboard["Properties"]["DashboardName"] == prefix
    link = each_stack.resolved(each_stack.json["Outputs"]["DashboardConsole"]["Value"])
    assert link.endswith(f"region=us-east-1#dashboards/dashboard/{prefix}")


def test_the_status_function_draws_the_top_of_it(each_stack, widgets):
    assert (widgets[0]["type"], widgets[0]["x"], widgets[0]["y"], widgets[0]["width"]) == ("custom", 0, 0, 24)
    name = f"{each_stack.configuration.settings.prefix}-status"
    assert widgets[0]["properties"]["endpoint"].endswith(f":function:{name}")


def test_no_widget_overlaps_another_or_hangs_over(widgets):
    taken = [
        (x, y)
        for each in widgets
        for x in range(each["x"], each["x"] + each["width"])
        for y in range(each["y"], each["y"] + each["height"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) <= 23
    # Two screens at most; the first of them says it all.
    assert max(y for _, y in taken) <= 30


def test_each_limit_has_a_graph_with_a_line_at_the_limit(each_stack, widgets):
    limits = each_stack.configuration.settings.limits
    assert limits
    for limit in limits:
        graph = titled(widgets, f"against {limit}")
        lines = {each["label"]: each["value"] for each in graph["properties"]["annotations"]["horizontal"]}
        expected = {"limit": float(limit.usd)}
        if limit.ladder.warn is not None:
            expected["warning"] = float(limit.usd * limit.ladder.warn / 100)
        assert lines == expected


def test_what_it_draws_of_the_meter_the_meter_publishes(each_stack, widgets):
    drawn = {
        metric[1]
        for each in widgets
        for metric in each["properties"].get("metrics", ())
        if metric[0] == "BedrockSpendGuardrail"
    }
    at, usd = moment("18:30"), Decimal(1)
    spend = Spend(at, usd, dict.fromkeys(Window, usd), {}, {"m": usd}, ("a gap",))
    decision = Decision(Verdict.OK, "", (), at)
    tick = Tick("due", decision, spend, None, timedelta(0), moving=True, level=Level.RELEASED, asked=None, problems=())
    published = set(tick.figures({each.window for each in each_stack.configuration.settings.limits} - {Window.MINUTE}))
    assert drawn
    assert drawn <= published


def test_tokens_are_searched_for_in_every_region_on_both_planes(each_stack, widgets):
    found = {
        (region, expression)
        for metric in titled(widgets, "Tokens")["properties"]["metrics"]
        for region, expression in [(metric[0].get("region", "us-east-1"), metric[0]["expression"])]
    }
    for region in each_stack.configuration.settings.regions:
        of_region = [expression for where, expression in found if where == region]
        assert [each.partition(" ")[0] for each in sorted(of_region)] == [
            "SEARCH('{AWS/Bedrock,ModelId}",
            "SEARCH('{AWS/BedrockMantle,Project,Model}",
        ]
    for _, expression in found:
        assert re.fullmatch(
            r"SEARCH\('\{[\w/]+(,\w+)+\} MetricName=\(\"\w+\"( OR \"\w+\")*\)', 'Sum', 300\)", expression
        ), expression
    assert len(found) == 2 * len(each_stack.configuration.settings.regions)


def test_every_function_is_watched_for_errors_and_throttles(each_stack, widgets):
    failures = titled(widgets, "own functions")["properties"]["metrics"]
    drawn = {(metric[1], metric[3]) for metric in failures}
    names = {each_stack.resolved({"Ref": each}) for each in each_stack.of_type("AWS::Lambda::Function")}
    assert drawn == {(metric, name) for metric in ("Errors", "Throttles") for name in names}


def test_the_alarms_shown_are_those_that_tell_somebody(each_stack, widgets):
    shown = titled(widgets, "Alarms")["properties"]["alarms"]
    alarms = each_stack.of_type("AWS::CloudWatch::Alarm")
    telling = {name for name, each in alarms.items() if each["Properties"].get("AlarmActions")}
    assert telling < set(alarms) or each_stack.configuration.home not in each_stack.configuration.settings.watched
    expected = {each_stack.resolved({"Fn::GetAtt": [name, "Arn"]}) for name in telling}
    assert set(shown) == expected
    # CloudWatch takes a hundred.
    assert 0 < len(shown) <= 100


def test_nothing_on_it_acts(widgets):
    assert [each["type"] for each in widgets].count("custom") == 1
    assert {each["type"] for each in widgets} == {"custom", "metric", "alarm"}


def test_without_the_option_there_is_none(shipped, tmp_path):
    without = synthesized(replace(shipped.configuration, dashboard=False), tmp_path)
    assert not without.of_type("AWS::CloudWatch::Dashboard")
    assert "DashboardConsole" not in without.json["Outputs"]


def test_no_function_has_more_memory_than_its_own_cost_is_reckoned_with(each_stack):
    most = max(each.properties["MemorySize"] for each in each_stack.functions().values())
    assert most <= LARGEST_GB * 1024


@pytest.mark.parametrize(("encrypt", "said"), [(False, None), (True, "yes")])
def test_a_key_of_ones_own_is_in_the_account_of_the_own_cost(shipped, tmp_path, encrypt, said):
    stack = synthesized(replace(shipped.configuration, encrypt=encrypt), tmp_path)
    assert stack.functions()["inventory"].properties["Environment"]["Variables"].get("ENCRYPTED") == said
