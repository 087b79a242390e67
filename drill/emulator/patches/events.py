"""EventBridge: events that only AWS itself may send, the rule a call is about, and buses of other regions."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import json

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import Emulated, module, wrap


@launcher_patch("events-aws-source")
def _aws_source() -> None:
    def from_root(original: Emulated) -> Emulated:
        def put(request: Emulated, *, allow_aws_source: bool = False) -> Emulated:
            root = module("core.iam_evaluator").caller_arn().endswith(":root")
            return original(request, allow_aws_source=allow_aws_source or root)

        return put

    wrap(module("services.eventbridge"), "_put_events", from_root)


@launcher_patch("events-rule-arn")
def _rule_arn() -> None:
    def on_rule(original: Emulated) -> Emulated:
        def extract(service: str, method: str, path: str, headers: Emulated, body: bytes, *rest: Emulated) -> str:
            asked = json.loads(body or b"{}") if service == "events" else {}
            if "Rule" not in asked:
                return str(original(service, method, path, headers, body, *rest))
            *_, region, account = rest
            return f"arn:aws:events:{region}:{account}:rule/{asked['Rule']}"

        return extract

    wrap(module("core.iam_actions"), "extract_resource_arn", on_rule)


@launcher_patch("events-cross-region-bus")
def _cross_region_bus() -> None:
    eventbridge, scope = module("services.eventbridge"), module("core.responses")

    def across(original: Emulated) -> Emulated:
        def dispatch(target: Emulated, event: Emulated, rule: Emulated, *rest: Emulated) -> None:
            here = scope.get_region()
            if target.region == here or target.account_id != scope.get_account_id():
                original(target, event, rule, *rest)
            elif _role_allows(rule, target):
                bus = target.resource.partition("/")[2]
                with scope.request_scope(target.account_id, target.region):
                    eventbridge._dispatch_event({**event, "EventBusName": bus, "Region": here})

        return dispatch

    wrap(eventbridge, "_dispatch_to_event_bus", across)


def _role_allows(rule: Emulated, bus: Emulated) -> bool:
    """Whether the role of the rule's target for that bus may put events on it."""
    evaluator, eventbridge = module("core.iam_evaluator"), module("services.eventbridge")
    arn = f"arn:aws:events:{bus.region}:{bus.account_id}:{bus.resource}"
    targets = eventbridge._targets.get(eventbridge._rule_key(rule["Name"], rule.get("EventBusName", "default")), [])
    role = next(each["RoleArn"] for each in targets if each["Arn"] == arn)
    request = evaluator.EvalContext(
        principal_arn=role,
        principal_type="AssumedRole",
        principal_account=bus.account_id,
        action="events:PutEvents",
        resource_arn=arn,
        region=bus.region,
    )
    policies = evaluator._gather_role_policies(role.rpartition("/")[2], bus.account_id)
    return bool(evaluator.evaluate(request, policies).decision == "Allow")
