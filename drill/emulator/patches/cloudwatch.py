"""CloudWatch: alarms on several metrics and on alarms, the events of alarms, and exact reads of metrics."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import importlib
import json
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import BAD_REQUEST, Emulated, module, wrap

LISTING, SHOWING = "cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard"


@launcher_patch("cloudformation-composite-alarm")
def _composite_alarm() -> None:
    cloudwatch, provisioners = module("services.cloudwatch"), module("services.cloudformation.provisioners")

    def put(name: str, properties: dict[str, Any]) -> tuple[str, dict[str, str]]:
        request = {**properties, "AlarmName": name}
        status, _, body = cloudwatch._put_composite_alarm({}, request, is_cbor=False, is_json=True)
        if status >= BAD_REQUEST:
            raise ValueError(json.loads(body).get("message") or body.decode())
        return name, {"Arn": cloudwatch._composite_alarms[name]["AlarmArn"]}

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, str]]:
        return put(properties.get("AlarmName") or provisioners._physical_name(stack, logical_id), properties)

    def update(name: str, _old: Emulated, new: dict[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
        return put(name, new)

    def delete(name: str, _properties: Emulated) -> None:
        cloudwatch._composite_alarms.pop(name, None)

    provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::CompositeAlarm"] = {
        "create": create,
        "update": update,
        "delete": delete,
    }


@launcher_patch("cloudformation-alarm-of-metrics")
def _alarm_of_metrics() -> None:
    def with_metrics(original: Emulated) -> Emulated:
        def record(name: str, properties: dict[str, Any]) -> dict[str, Any]:
            metrics = properties.get("Metrics")
            if not metrics:
                single: dict[str, Any] = original(name, properties)
                return single
            rest = {key: value for key, value in properties.items() if key != "Metrics"}
            alarm: dict[str, Any] = original(name, {**rest, "MetricName": "-", "Namespace": "-"})
            for key in ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period"):
                alarm.pop(key)
            return {**alarm, "Metrics": metrics}

        return record

    wrap(module("services.cloudformation.provisioners"), "_cw_metric_alarm_record", with_metrics)


@launcher_patch("cloudwatch-alarm-evaluation")
def _no_evaluation() -> None:
    module("services.cloudwatch")._evaluate_alarm = lambda _alarm: None


@launcher_patch("cloudwatch-alarm-events")
def _alarm_events() -> None:
    def and_event(original: Emulated) -> Emulated:
        def dispatch(alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
            original(alarm, old, new, reason)
            event = {
                "Source": "aws.cloudwatch",
                "DetailType": "CloudWatch Alarm State Change",
                "Resources": [alarm["AlarmArn"]],
                "Detail": json.dumps(_detail(alarm, old, new, reason)),
            }
            module("services.eventbridge")._put_events({"Entries": [event]}, allow_aws_source=True)

        return dispatch

    wrap(module("services.cloudwatch"), "_dispatch_alarm_actions", and_event)


def _detail(alarm: dict[str, Any], old: str, new: str, reason: str) -> dict[str, Any]:
    """Write the detail of the event as CloudWatch does."""
    now = f"{datetime.now(UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}+0000"
    configuration: dict[str, Any] = {"description": alarm.get("AlarmDescription", "")}
    if "AlarmRule" in alarm:
        configuration["alarmRule"] = alarm["AlarmRule"]
    else:
        configuration["metrics"] = [_query(each) for each in alarm.get("Metrics", ())] or [_metric(alarm)]
    return {
        "alarmName": alarm["AlarmName"],
        "state": {"value": new, "reason": reason, "timestamp": now},
        "previousState": {"value": old, "timestamp": now},
        "configuration": configuration,
    }


def _query(query: dict[str, Any]) -> dict[str, Any]:
    """Spell one of several metrics of an alarm as in the event."""
    named = {"id": query["Id"], "returnData": query.get("ReturnData", True)}
    return named | ({"expression": query["Expression"]} if "Expression" in query else {})


def _metric(alarm: dict[str, Any]) -> dict[str, Any]:
    """Spell the metric of an alarm as in the event."""
    dimensions = {pair["Name"]: pair["Value"] for pair in alarm["Dimensions"] or []}
    metric = {"namespace": alarm["Namespace"], "name": alarm["MetricName"], "dimensions": dimensions}
    stat = {"metric": metric, "period": alarm["Period"], "stat": alarm["ExtendedStatistic"] or alarm["Statistic"]}
    return {"id": "m1", "metricStat": stat, "returnData": True}


@launcher_patch("cloudwatch-resource-arn")
def _resource_arn() -> None:
    actions = module("core.iam_actions")

    def as_aws(original: Emulated) -> Emulated:
        def extract(service: str, method: str, path: str, headers: Emulated, body: bytes, *rest: Emulated) -> str:
            if service == "monitoring":
                query, region, account = rest
                action = actions.extract_iam_action(service, method, path, headers, body, query)
                if action == LISTING:
                    return f"arn:aws:cloudwatch:{region}:{account}:alarm:*"
                if action == SHOWING:
                    return f"arn:aws:cloudwatch::{account}:dashboard/{_asked('DashboardName', body, query)}"
            return str(original(service, method, path, headers, body, *rest))

        return extract

    wrap(actions, "extract_resource_arn", as_aws)


@launcher_patch("cloudwatch-namespace-key")
def _namespace_key() -> None:
    def with_namespace(original: Emulated) -> Emulated:
        def context(service: str, action: str, body: bytes, parameters: Emulated) -> dict[str, Any]:
            keys = dict(original(service, action, body, parameters))
            if action == "cloudwatch:PutMetricData":
                keys["cloudwatch:namespace"] = _asked("Namespace", body, parameters)
            return keys

        return context

    wrap(module("core.iam_actions"), "request_tag_context", with_namespace)


def _asked(name: str, body: bytes, parameters: Emulated) -> str:
    """Read a parameter of a request in any of CloudWatch's three protocols."""
    if parameters.get(name):
        return str(parameters[name][0])
    decode = json.loads if body.startswith(b"{") else importlib.import_module("cbor2").loads
    return str(decode(body).get(name, ""))


class _Dimensions(dict[str, str]):
    """Dimensions a reader asked for: none at all is a request too, so it counts as true."""

    def __bool__(self) -> bool:
        return True


@launcher_patch("cloudwatch-exact-dimensions")
def _exact_dimensions() -> None:
    cloudwatch = module("services.cloudwatch")
    newest_first: ContextVar[bool] = ContextVar("newest_first", default=False)

    def remember_order(original: Emulated) -> Emulated:
        def read(params: Emulated, request: dict[str, Any], *protocol: bool) -> Emulated:
            newest_first.set(request.get("ScanBy") != "TimestampAscending")
            return original(params, request, *protocol)

        return read

    def ordered(original: Emulated) -> Emulated:
        def encode(data: dict[str, Any]) -> Emulated:
            for series in data.get("MetricDataResults", []) if newest_first.get() else []:
                series["Timestamps"].reverse()
                series["Values"].reverse()
            return original(data)

        return encode

    wrap(cloudwatch, "_dims_from_list", lambda original: lambda dimensions: _Dimensions(original(dimensions)))
    wrap(cloudwatch, "_get_metric_data", remember_order)
    for encoder in ("_cbor_ok", "_json_ok"):
        wrap(cloudwatch, encoder, ordered)
