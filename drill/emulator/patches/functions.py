"""Lambda: the IAM actions of concurrency, and asynchronous calls."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import json
import re
import time
from contextvars import ContextVar

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import Emulated, module, wrap

VERBS = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}
LONGEST = 300.0
"""Seconds that a call which is throttled waits at most; AWS keeps it for hours."""
ACCOUNT = re.compile(r"^/2016-08-19/account-settings/?$")


@launcher_patch("lambda-concurrency-actions")
def _concurrency_actions() -> None:
    def as_aws(original: Emulated) -> Emulated:
        def action(method: str, path: str) -> str | None:
            if path.rstrip("/").endswith("/concurrency") and method in VERBS:
                return f"{VERBS[method]}FunctionConcurrency"
            if ACCOUNT.match(path):
                return "GetAccountSettings"
            found: str | None = original(method, path)
            return found

        return action

    wrap(module("core.iam_actions"), "_lambda_action", as_aws)


@launcher_patch("lambda-asynchronous-calls")
def _asynchronous_calls() -> None:
    functions, sns = module("services.lambda_svc"), module("services.sns")
    waits: ContextVar[bool] = ContextVar("waits", default=False)

    def until_it_runs(original: Emulated) -> Emulated:
        def execute(function: Emulated, event: Emulated) -> Emulated:
            result, deadline = original(function, event), time.monotonic() + LONGEST
            while waits.get() and result.get("throttle") and time.monotonic() < deadline:
                time.sleep(0.5)
                result = original(function, event)
            return result

        return execute

    def waiting(original: Emulated) -> Emulated:
        def invoke(function: Emulated, event: Emulated) -> None:
            token = waits.set(True)  # the thread that makes the call takes this along
            try:
                original(function, event)
            finally:
                waits.reset(token)

        return invoke

    def call(arn: str, event: Emulated) -> None:
        function, configuration, _ = functions._get_func_record_for_ref(arn)
        if function and configuration:
            record = functions._execution_record_for_config(function, configuration)
            functions.invoke_async_with_retry(record, event)

    def deliver(endpoint: str, envelope: str, _topic: str, subscription: str, *_rest: Emulated) -> None:
        source = {"EventVersion": "1.0", "EventSource": "aws:sns", "EventSubscriptionArn": subscription}
        message = {**json.loads(envelope), "Timestamp": module("core.responses").now_iso()}
        call(endpoint, {"Records": [{**source, "Sns": message}]})

    wrap(functions, "_execute_function", until_it_runs)
    wrap(functions, "invoke_async_with_retry", waiting)
    module("services.eventbridge")._dispatch_to_lambda = lambda arn, payload: call(arn, json.loads(payload))
    sns._deliver_to_lambda = deliver
