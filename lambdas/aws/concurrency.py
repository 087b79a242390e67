"""Lambda: functions that call Bedrock and are tagged for it run less at a step-down, and not at all at a stop."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from lambdas.aws import calls, gone, recalled
from lambdas.aws.regional import found_in
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.permissions import On, needs
from lambdas.core.principals import Spared

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

TAG = "bedrock-spend-throttle"
"""Its value is how many may run at once during a step-down."""

_GET, _PUT, _DELETE = (f"lambda:{verb}FunctionConcurrency" for verb in ("Get", "Put", "Delete"))
_GONE = "ResourceNotFoundException"


class Tagging(Protocol):
    """The one call made of the tagging API."""

    def get_resources(
        self,
        *,
        TagFilters: Sequence[Mapping[str, Any]],  # noqa: N803 - AWS's names
        ResourceTypeFilters: Sequence[str],  # noqa: N803
        PaginationToken: str,  # noqa: N803
    ) -> Mapping[str, Any]:
        """Return a page of tagged resources."""


class Concurrency:
    """Reserved concurrency of tagged functions. It is only ever lowered: what stands lower already is left.

    AWS refuses to reserve concurrency for a function that has none when too little of the account's would stay
    unreserved; that fails a step-down. A stop reserves none of it, so it cannot fail for that.
    """

    name = "concurrency"

    def __init__(
        self,
        lambda_in: "Callable[[str], LambdaClient]",
        tagging_in: Callable[[str], Tagging],
        regions: tuple[str, ...],
        *,
        own_prefix: str,
    ) -> None:
        """Take how to get clients for a region, the regions, and how the names of the guardrail's functions begin."""
        self._lambda_in = lambda_in
        self._tagging_in = tagging_in
        self._regions = regions
        self._own_prefix = own_prefix
        self._making = Lock()  # making a client is not safe to do in several threads at once

    @needs("tag:GetResources", on=On.EVERYTHING)
    @needs(_GET, on=On.FUNCTIONS)
    def find(self, level: Level, spared: Spared) -> Found:
        """Return the tagged functions that may run more at once than the level wants."""
        del spared  # a function is no principal, and whoever tagged it asked for this
        if level is Level.RELEASED:
            return Found()
        return found_in(self._regions, lambda region: self._look(region, level))

    @needs(_GET, on=On.FUNCTIONS)
    @needs(_PUT, on=On.TAGGED_FUNCTIONS)
    def hold(self, held: Held, level: Level) -> None:
        """Lower the reserved concurrency of a function."""
        wanted = _wanted(recalled.value(held, "step_down", int | None), level)
        region, _, name = held.key.partition("/")
        now = self._now(region, name)
        if wanted is not None and now is not None and not _low_enough(now["reserved"], wanted):
            self._put(region, name, wanted)

    @needs(_GET, on=On.FUNCTIONS)
    @needs(_PUT, _DELETE, on=On.TAGGED_FUNCTIONS)
    def restore(self, held: Held) -> None:
        """Reserve again what was reserved before, or nothing when that was so."""
        region, _, name = held.key.partition("/")
        reserved: int | None = recalled.value(held, "reserved", int | None)
        now = self._now(region, name)
        if now is None or now["reserved"] == reserved:
            return
        if reserved is not None:
            self._put(region, name, reserved)
            return
        with gone.passes(_GONE), calls.named(_DELETE):
            self._lambda(region).delete_function_concurrency(FunctionName=name)

    def _look(self, region: str, level: Level) -> Found:
        to_hold: list[Held] = []
        unread: dict[str, str] = {}
        uncovered: dict[str, str] = {}
        try:
            for name, value in self._tagged(region):
                if name.startswith(self._own_prefix):
                    continue
                words = f"Lambda function {name} in {region}"
                step_down = int(value) if re.fullmatch("[0-9]{1,9}", value) else None
                if step_down is None and level is Level.STEP_DOWN:
                    uncovered[words] = f'its tag {TAG} = "{value}" must be a whole number, 0 or more'
                    continue
                try:
                    now = self._now(region, name)
                except AwsCallError as error:
                    unread[words] = str(error)
                    continue
                if now is not None and not _low_enough(now["reserved"], _wanted(step_down, level)):
                    before = {**now, "step_down": step_down}
                    to_hold.append(Held(self.name, f"{region}/{name}", words, before))
        except AwsCallError as error:
            unread[f"Lambda functions tagged {TAG} in {region}"] = str(error)
        return Found(tuple(to_hold), unread, uncovered)

    def _tagged(self, region: str) -> Iterator[tuple[str, str]]:
        """Yield names and values of the tag, page by page."""
        with self._making:
            client = self._tagging_in(region)
        token = ""
        while True:
            with calls.named("tag:GetResources"):
                page = client.get_resources(
                    TagFilters=[{"Key": TAG}], ResourceTypeFilters=["lambda:function"], PaginationToken=token
                )
            for each in page.get("ResourceTagMappingList", ()):
                tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
                yield each["ResourceARN"].split(":")[6], tags.get(TAG, "")
            token = page.get("PaginationToken", "")
            if not token:
                return

    def _now(self, region: str, name: str) -> dict[str, int | None] | None:
        """Return ``{"reserved": 5}``, or None for nothing reserved; None when there is no such function any more."""
        try:
            with calls.named(_GET):
                answer = self._lambda(region).get_function_concurrency(FunctionName=name)
        except AwsCallError as error:
            if error.code == _GONE:
                return None
            raise
        return {"reserved": answer.get("ReservedConcurrentExecutions")}

    def _put(self, region: str, name: str, reserved: int) -> None:
        with gone.passes(_GONE), calls.named(_PUT):
            self._lambda(region).put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)

    def _lambda(self, region: str) -> "LambdaClient":
        with self._making:
            return self._lambda_in(region)


def _wanted(step_down: int | None, level: Level) -> int | None:
    """Return how many may run at once; None when the level does not say."""
    return {Level.STOP: 0, Level.STEP_DOWN: step_down}.get(level)


def _low_enough(reserved: int | None, wanted: int | None) -> bool:
    return wanted is None or (reserved is not None and reserved <= wanted)
