"""CloudTrail: the names of the calls it saw."""

from urllib.parse import parse_qs

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import Emulated, module, wrap


@launcher_patch("cloudtrail-event-names")
def _event_names() -> None:
    def with_action(original: Emulated) -> Emulated:
        def record(
            service: str, method: str, path: str, headers: Emulated, body: bytes, query: Emulated, *rest: str
        ) -> None:
            # A call of a service with the query protocol, such as IAM, says in its body what it is.
            named = parse_qs(body.decode()).get("Action") if service == "iam" else None
            original(service, method, path, headers, body, {**query, "Action": named} if named else query, *rest)

        return record

    wrap(module("app"), "_maybe_record_cloudtrail", with_action)
