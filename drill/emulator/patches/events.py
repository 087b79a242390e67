"""EventBridge: events that only AWS itself may send."""

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
