"""CloudWatch: composite alarms, the events of alarms, and exact reads of metrics."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import importlib
import json
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import BAD_REQUEST, Emulated, module, wrap


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
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    configuration: dict[str, Any] = {"description": alarm.get("AlarmDescription", "")}
    if "AlarmRule" in alarm:
        configuration["alarmRule"] = alarm["AlarmRule"]
    else:
        configuration["metrics"] = [_metric(alarm)]
    return {
        "alarmName": alarm["AlarmName"],
        "state": {"value": new, "reason": reason, "timestamp": now},
        "previousState": {"value": old, "timestamp": now},
        "configuration": configuration,
    }


def _metric(alarm: dict[str, Any]) -> dict[str, Any]:
    """Spell the metric of an alarm as in the event."""
    dimensions = {pair["Name"]: pair["Value"] for pair in alarm["Dimensions"] or []}
    metric = {"namespace": alarm["Namespace"], "name": alarm["MetricName"], "dimensions": dimensions}
    stat = {"metric": metric, "period": alarm["Period"], "stat": alarm["ExtendedStatistic"] or alarm["Statistic"]}
    return {"id": "m1", "metricStat": stat, "returnData": True}


@launcher_patch("cloudwatch-namespace-key")
def _namespace_key() -> None:
    def with_namespace(original: Emulated) -> Emulated:
        def context(service: str, action: str, body: bytes, parameters: Emulated) -> dict[str, Any]:
            keys = dict(original(service, action, body, parameters))
            if action == "cloudwatch:PutMetricData":
                keys["cloudwatch:namespace"] = _namespace(body, parameters)
            return keys

        return context

    wrap(module("core.iam_actions"), "request_tag_context", with_namespace)


def _namespace(body: bytes, parameters: Emulated) -> str:
    """Read the namespace of a PutMetricData request in any of its three protocols."""
    if parameters.get("Namespace"):
        return str(parameters["Namespace"][0])
    decode = json.loads if body.startswith(b"{") else importlib.import_module("cbor2").loads
    return str(decode(body).get("Namespace", ""))


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
