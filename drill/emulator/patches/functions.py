"""Lambda: the IAM actions of reserved concurrency."""

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import Emulated, module, wrap

VERBS = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}


@launcher_patch("lambda-concurrency-actions")
def _concurrency_actions() -> None:
    def as_aws(original: Emulated) -> Emulated:
        def action(method: str, path: str) -> str | None:
            if path.rstrip("/").endswith("/concurrency") and method in VERBS:
                return f"{VERBS[method]}FunctionConcurrency"
            found: str | None = original(method, path)
            return found

        return action

    wrap(module("core.iam_actions"), "_lambda_action", as_aws)
