"""Bedrock and AgentCore: work that goes on spending after every caller was denied, and capacity that stands."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from botocore import xform_name

from lambdas.aws import calls, gone
from lambdas.core import model_ids
from lambdas.core.assumptions import Assumptions
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, needs
from lambdas.core.plan import Job, Listing, StopJob
from lambdas.core.work import KEEP_TAG, NO_CALL, Capacity, Choice, Kind, why_kept

Item = Mapping[str, Any]
_Method = TypeVar("_Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Look:
    """A call that lists: what the one before found is asked about, what it finds is for the next."""

    call: str
    """``bedrock-agent:ListFlows``: the SDK's service and the operation."""
    items: str
    """Where an answer has them."""
    ids: Mapping[str, str]
    """What the calls after this one are given, by parameter: the member of an item."""
    on: On = On.EVERYTHING
    page: int = 1000
    also: str = ""
    """An id that AWS manages and may leave out."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A call that tells more of one job."""

    call: str
    given: tuple[str, ...]
    """The parameters, out of those the looks found."""
    on: On
    within: tuple[str, ...] = ()
    """Where in the answer it is."""
    via: tuple[tuple[str, On], ...] = ()
    """What IAM asks for on top, because the service calls another in the caller's name."""


@dataclass(frozen=True, slots=True)
class Tags:
    """The call that lists the tags of something."""

    call: str
    parameter: str
    items: str
    key: str
    on: On


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of work: how it is found, which of it runs, and how it is stopped."""

    kind: Kind
    looks: tuple[Look, ...]
    """The last one lists the work itself."""
    names: tuple[str, ...]
    """Members that name it for people."""
    status: str = "status"
    running: tuple[str, ...] = ()
    """Statuses of what goes on; empty where everything that is listed does."""
    by_status: Callable[[str], Mapping[str, Any]] | None = None
    """How to ask for one status; None where AWS cannot be asked."""
    stop: str = ""
    """Given all that the looks found; empty where AWS has no such call."""
    on: On = On.EVERYTHING
    via: tuple[tuple[str, On], ...] = ()
    role: str = ""
    """The member with the service role, of an item or of the detail."""
    detail: Detail | None = None
    tags: Tags | None = None
    capacity: Callable[[Item], Capacity] | None = None
    """What it costs by the hour; only of what is deleted, not stopped."""

    @property
    def reads(self) -> Iterator[tuple[str, On]]:
        """The IAM actions of looking for it, and what they reach."""
        yield from ((action_of(look.call), look.on) for look in self.looks)
        if self.detail:
            yield from ((action_of(self.detail.call), self.detail.on), *self.detail.via)
        if self.tags:
            yield action_of(self.tags.call), self.tags.on

    @property
    def writes(self) -> Iterator[tuple[str, On]]:
        """The IAM actions of stopping it."""
        if self.stop:
            yield from ((action_of(self.stop), self.on), *self.via)


_PREFIXES = {
    "bedrock-agent": "bedrock",
    "bedrock-agent-runtime": "bedrock",
    "bedrock-runtime": "bedrock",
    "bedrock-agentcore-control": "bedrock-agentcore",
}


def action_of(call: str) -> str:
    """Return the IAM action of a call of the SDK: ``bedrock:ListFlows`` for ``bedrock-agent:ListFlows``."""
    service, _, operation = call.partition(":")
    return f"{_PREFIXES.get(service, service)}:{operation}"


def _equals(status: str) -> Mapping[str, Any]:
    return {"statusEquals": status}


def _filters(status: str) -> Mapping[str, Any]:
    return {"filters": [{"attribute": "STATUS", "operator": "EQ", "values": [status]}]}


def _is(status: str) -> Mapping[str, Any]:
    return {"status": status}


def _provisioned(item: Item) -> Capacity:
    model = item.get("foundationModelArn", "")
    until = item.get("commitmentExpirationTime")
    units = [item[each] for each in ("modelUnits", "desiredModelUnits") if each in item]
    return Capacity(
        Kind.PROVISIONED,
        (item.get("provisionedModelName", ""), item["provisionedModelArn"], model, model_ids.normalise(model)),
        units=max(units, default=None),
        term=item.get("commitmentDuration", ""),
        until=until and until.astimezone(UTC),
    )


def _endpoint(item: Item) -> Capacity:
    machine = item.get("endpointConfig", {}).get("sageMaker", {})
    return Capacity(
        Kind.ENDPOINT,
        (item["endpointArn"].rpartition("/")[2], item["endpointArn"], machine.get("instanceType", "")),
        units=machine.get("initialInstanceCount"),
    )


def _deployment(item: Item) -> Capacity:
    return Capacity(
        Kind.DEPLOYMENT,
        (item.get("customModelDeploymentName", ""), item["customModelDeploymentArn"], item.get("modelArn", "")),
    )


_JOB = {"jobIdentifier": "jobArn"}
_IN_INSTANCES = (
    ("sagemaker:DescribeEndpoint", On.INSTANCE_DETAILS),
    ("sagemaker:DescribeEndpointConfig", On.INSTANCE_DETAILS),
)

ROWS = (
    Row(
        Kind.BATCH,
        (Look("bedrock:ListModelInvocationJobs", "invocationJobSummaries", _JOB),),
        names=("jobName",),
        running=("Submitted", "Validating", "Scheduled", "InProgress"),
        by_status=_equals,
        role="roleArn",
        stop="bedrock:StopModelInvocationJob",
        on=On.BATCH_JOBS,
    ),
    Row(
        Kind.CUSTOMIZATION,
        (Look("bedrock:ListModelCustomizationJobs", "modelCustomizationJobSummaries", _JOB),),
        names=("jobName",),
        running=("InProgress",),
        by_status=_equals,
        role="roleArn",
        detail=Detail("bedrock:GetModelCustomizationJob", ("jobIdentifier",), On.CUSTOMIZATION_JOBS),
        stop="bedrock:StopModelCustomizationJob",
        on=On.CUSTOMIZATION_JOBS,
    ),
    Row(
        Kind.EVALUATION,
        (Look("bedrock:ListEvaluationJobs", "jobSummaries", _JOB),),
        names=("jobName",),
        running=("InProgress",),
        by_status=_equals,
        role="roleArn",
        detail=Detail("bedrock:GetEvaluationJob", ("jobIdentifier",), On.EVALUATION_JOBS),
        stop="bedrock:StopEvaluationJob",
        on=On.EVALUATION_JOBS,
    ),
    Row(
        Kind.OPTIMIZATION,
        (Look("bedrock:ListAdvancedPromptOptimizationJobs", "jobSummaries", _JOB),),
        names=("jobName",),
        status="jobStatus",
        running=("InProgress",),
        stop="bedrock:StopAdvancedPromptOptimizationJob",
        on=On.OPTIMIZATION_JOBS,
    ),
    Row(
        Kind.INGESTION,
        (
            Look("bedrock-agent:ListKnowledgeBases", "knowledgeBaseSummaries", {"knowledgeBaseId": "knowledgeBaseId"}),
            Look(
                "bedrock-agent:ListDataSources",
                "dataSourceSummaries",
                {"dataSourceId": "dataSourceId"},
                on=On.KNOWLEDGE_BASES,
            ),
            Look(
                "bedrock-agent:ListIngestionJobs",
                "ingestionJobSummaries",
                {"ingestionJobId": "ingestionJobId"},
                on=On.KNOWLEDGE_BASES,
            ),
        ),
        names=("knowledgeBaseId", "dataSourceId", "ingestionJobId"),
        running=("STARTING", "IN_PROGRESS"),
        by_status=_filters,
        role="roleArn",
        detail=Detail(
            "bedrock-agent:GetKnowledgeBase", ("knowledgeBaseId",), On.KNOWLEDGE_BASES, within=("knowledgeBase",)
        ),
        stop="bedrock-agent:StopIngestionJob",
        on=On.KNOWLEDGE_BASES,
    ),
    Row(
        Kind.FLOW,
        (
            Look("bedrock-agent:ListFlows", "flowSummaries", {"flowIdentifier": "id"}),
            Look(
                "bedrock-agent-runtime:ListFlowExecutions",
                "flowExecutionSummaries",
                {"flowAliasIdentifier": "flowAliasIdentifier", "executionIdentifier": "executionArn"},
                on=On.FLOWS,
            ),
        ),
        names=("flowIdentifier", "executionIdentifier"),
        running=("Running",),
        role="executionRoleArn",
        detail=Detail("bedrock-agent:GetFlow", ("flowIdentifier",), On.FLOWS),
        stop="bedrock-agent-runtime:StopFlowExecution",
        on=On.FLOWS,
    ),
    Row(
        Kind.REASONING,
        (
            Look(
                "bedrock:ListAutomatedReasoningPolicies",
                "automatedReasoningPolicySummaries",
                {"policyArn": "policyArn"},
            ),
            Look(
                "bedrock:ListAutomatedReasoningPolicyBuildWorkflows",
                "automatedReasoningPolicyBuildWorkflowSummaries",
                {"buildWorkflowId": "buildWorkflowId"},
                on=On.REASONING_POLICIES,
            ),
        ),
        names=("policyArn", "buildWorkflowId"),
        running=("SCHEDULED", "PREPROCESSING", "BUILDING", "TESTING"),
        stop="bedrock:CancelAutomatedReasoningPolicyBuildWorkflow",
        on=On.REASONING_POLICIES,
    ),
    Row(
        Kind.AGENT_EVALUATION,
        (
            Look(
                "bedrock-agentcore:ListBatchEvaluations",
                "batchEvaluations",
                {"batchEvaluationId": "batchEvaluationId"},
                page=100,
            ),
        ),
        names=("batchEvaluationName",),
        running=("PENDING", "IN_PROGRESS"),
        stop="bedrock-agentcore:StopBatchEvaluation",
        on=On.AGENT_EVALUATIONS,
    ),
    Row(
        Kind.BROWSER,
        (
            Look(
                "bedrock-agentcore-control:ListBrowsers",
                "browserSummaries",
                {"browserIdentifier": "browserId"},
                page=50,
                also="aws.browser.v1",
            ),
            Look("bedrock-agentcore:ListBrowserSessions", "items", {"sessionId": "sessionId"}, page=100),
        ),
        names=("browserIdentifier", "sessionId"),
        running=("READY",),
        by_status=_is,
        stop="bedrock-agentcore:StopBrowserSession",
        on=On.BROWSERS,
    ),
    Row(
        Kind.CODE,
        (
            Look(
                "bedrock-agentcore-control:ListCodeInterpreters",
                "codeInterpreterSummaries",
                {"codeInterpreterIdentifier": "codeInterpreterId"},
                page=50,
                also="aws.codeinterpreter.v1",
            ),
            Look(
                "bedrock-agentcore:ListCodeInterpreterSessions",
                "items",
                {"sessionId": "sessionId"},
                on=On.CODE_INTERPRETERS,
                page=100,
            ),
        ),
        names=("codeInterpreterIdentifier", "sessionId"),
        running=("READY",),
        by_status=_is,
        stop="bedrock-agentcore:StopCodeInterpreterSession",
        on=On.CODE_INTERPRETERS,
    ),
    Row(
        Kind.IMPORT,
        (Look("bedrock:ListModelImportJobs", "modelImportJobSummaries", _JOB),),
        names=("jobName",),
        running=("InProgress",),
        by_status=_equals,
    ),
    Row(
        Kind.COPY,
        (Look("bedrock:ListModelCopyJobs", "modelCopyJobSummaries", _JOB),),
        names=("targetModelArn",),
        running=("InProgress",),
        by_status=_equals,
    ),
    Row(
        Kind.ASYNC,
        (Look("bedrock-runtime:ListAsyncInvokes", "asyncInvokeSummaries", {"invocationArn": "invocationArn"}),),
        names=("modelArn", "invocationArn"),
        running=("InProgress",),
        by_status=_equals,
    ),
    Row(
        Kind.PROVISIONED,
        (
            Look(
                "bedrock:ListProvisionedModelThroughputs",
                "provisionedModelSummaries",
                {"provisionedModelId": "provisionedModelArn"},
            ),
        ),
        names=("provisionedModelName",),
        running=("Creating", "InService", "Updating"),
        tags=Tags("bedrock:ListTagsForResource", "resourceARN", "tags", "key", On.PROVISIONED_THROUGHPUT),
        capacity=_provisioned,
        stop="bedrock:DeleteProvisionedModelThroughput",
        on=On.PROVISIONED_THROUGHPUT,
    ),
    Row(
        Kind.ENDPOINT,
        (
            Look(
                "bedrock:ListMarketplaceModelEndpoints",
                "marketplaceModelEndpoints",
                {"endpointArn": "endpointArn"},
            ),
        ),
        names=("endpointArn",),
        # It is a SageMaker endpoint that Bedrock looks after: its machines and its tags are told over there.
        detail=Detail(
            "bedrock:GetMarketplaceModelEndpoint",
            ("endpointArn",),
            On.EVERYTHING,
            within=("marketplaceModelEndpoint",),
            via=_IN_INSTANCES,
        ),
        tags=Tags("sagemaker:ListTags", "ResourceArn", "Tags", "Key", On.INSTANCE_TAGS),
        capacity=_endpoint,
        stop="bedrock:DeleteMarketplaceModelEndpoint",
        on=On.MARKETPLACE_ENDPOINTS,
        via=(("sagemaker:DeleteEndpoint", On.INSTANCES),),
    ),
    Row(
        Kind.DEPLOYMENT,
        (
            Look(
                "bedrock:ListCustomModelDeployments",
                "modelDeploymentSummaries",
                {"customModelDeploymentIdentifier": "customModelDeploymentArn"},
            ),
        ),
        names=("customModelDeploymentName",),
        running=("Creating", "Active"),
        tags=Tags("bedrock:ListTagsForResource", "resourceARN", "tags", "key", On.CUSTOM_DEPLOYMENTS),
        capacity=_deployment,
        stop="bedrock:DeleteCustomModelDeployment",
        on=On.CUSTOM_DEPLOYMENTS,
    ),
)
"""All kinds of work. Operations, members and statuses are checked against the SDK's models in the tests."""

_ROW_OF = {row.kind: row for row in ROWS}
_GONE = "ResourceNotFoundException"
_NOT_HERE = re.compile(r"unknown ?operation|not (?:supported|available) in (?:this|the) (?:\S+ )?region", re.IGNORECASE)


def _needing(found: Iterable[tuple[str, On]]) -> Callable[[_Method], _Method]:
    """Declare what the rows name."""

    def mark(method: _Method) -> _Method:
        for action, on in dict.fromkeys(found):
            needs(action, on=on)(method)
        return method

    return mark


class Work:
    """Work in flight and standing capacity of some regions. Safe to use from several threads."""

    def __init__(
        self,
        client_in: Callable[[str, str], Any],
        regions: tuple[str, ...],
        *,
        now: Callable[[], datetime],
        choice: Choice | None = None,
        assumptions: Assumptions | None = None,
    ) -> None:
        """Take how to get the client of a service in a region, the regions, the clock, and what the user chose.

        Getting a client must be safe from several threads, which making one with boto3 is not.
        """
        self.regions = regions
        self._client_in = client_in
        self._now = now
        self._choice = choice or Choice()
        self._assumptions = assumptions or Assumptions()

    @_needing(each for row in ROWS for each in row.reads)
    def listings(self) -> Sequence[Listing]:
        """Return a look for each kind in each region; those the configuration spares are not looked for."""
        return [
            Listing(f"list {row.kind}s in {region}", partial(self._found, row, region))
            for region in self.regions
            for row in ROWS
            if row.kind.key not in self._choice.spare
        ]

    @_needing(each for row in ROWS for each in row.writes)
    def stop(self, step: StopJob) -> None:
        """Stop a job, or delete capacity; what is gone already is fine. Raises AwsCallError."""
        job = step.job
        row = _ROW_OF[Kind(job.kind)]
        given = dict(zip((each for look in row.looks for each in look.ids), job.arn.split(), strict=True))
        with gone.passes(_GONE):
            self._call(row.stop, job.region, given)

    def _found(self, row: Row, region: str) -> Sequence[Job]:
        """Return the jobs of a kind. What could not be looked into is a job of its own beside those that were found.

        Raises AwsCallError when that leaves nothing.
        """
        failures: list[AwsCallError] = []
        *above, last = row.looks
        places: list[dict[str, str]] = [{}]
        for look in above:
            below = [(ids, self._tried(look, region, ids, failures)) for ids in places]
            places = [ids | each for ids, items in below for each in _ids(look, items)]
        jobs: dict[str, Job] = {}
        for ids in places:
            for status in row.running if row.by_status else ("",):
                asked = row.by_status(status) if row.by_status else {}
                for item in self._tried(last, region, ids, failures, asked):
                    # Asked for one status or not: the answer has the word.
                    if not row.running or item.get(row.status) in row.running:
                        job = self._job(row, region, ids | _id(last, item), item)
                        jobs[job.arn] = job
        if failures and not jobs:
            raise failures[0]
        gap = [_gap(row, region, failures)] if failures else []
        return [*jobs.values(), *gap]

    def _tried(
        self,
        look: Look,
        region: str,
        ids: Mapping[str, str],
        failures: list[AwsCallError],
        asked: Mapping[str, Any] | None = None,
    ) -> list[Item]:
        """Return what a look finds; when it fails, nothing and one more failure.

        What went meanwhile holds nothing, and neither does a region without the service.
        """
        try:
            return self._items(look, region, {**ids, **(asked or {})})
        except AwsCallError as error:
            went = error.code == _GONE and bool(ids)
            if not went and not _does_not_exist_there(error, look.call):
                failures.append(error)
            return []

    def _items(self, look: Look, region: str, asked: Mapping[str, Any]) -> list[Item]:
        found: list[Item] = []
        token: str | None = None
        while True:
            more = {"nextToken": token} if token else {}
            answer = self._call(look.call, region, {**asked, "maxResults": look.page, **more})
            found += answer.get(look.items, ())
            if nameless := [each for each in found if not all(each.get(member) for member in look.ids.values())]:
                msg = f"{len(nameless)} items without {', '.join(look.ids.values())}"
                raise AwsCallError(action_of(look.call), "MalformedAnswer", msg)
            before, token = token, answer.get("nextToken")
            if not token:
                return found
            if token == before:
                msg = "the same page came twice, so not all is listed"
                raise AwsCallError(action_of(look.call), "RepeatedPage", msg)

    def _job(self, row: Row, region: str, ids: Mapping[str, str], item: Item) -> Job:
        known = {**item, **ids}
        why_not = "" if row.stop else NO_CALL
        try:
            known |= self._told(row, region, ids)
        except AwsCallError as error:
            if row.role and error.code != _GONE:
                why_not = f"its service role cannot be read, and may be an exempt one ({error})"
        if row.capacity:
            why_not = self._why_kept(row, region, row.capacity(known), known)
        name = "/".join(str(known[each]).rpartition("/")[2] for each in row.names if each in known)
        return Job(region, " ".join(ids.values()), name, known.get(row.role, ""), row.kind, why_not)

    def _told(self, row: Row, region: str, ids: Mapping[str, str]) -> Item:
        if row.detail is None:
            return {}
        answer: Item = self._call(row.detail.call, region, {each: ids[each] for each in row.detail.given})
        for member in row.detail.within:
            answer = answer.get(member, {})
        return answer

    def _why_kept(self, row: Row, region: str, capacity: Capacity, known: Item) -> str:
        why = why_kept(capacity, self._choice, self._assumptions, self._now())
        if why or row.tags is None:
            return why
        cost = capacity.hourly(self._assumptions)
        (arn,) = (known[each] for look in row.looks for each in look.ids)
        try:
            answer = self._call(row.tags.call, region, {row.tags.parameter: arn})
        except AwsCallError as error:
            return f"{cost}: its tags cannot be read, {KEEP_TAG} may be among them ({error})"
        if any(each[row.tags.key] == KEEP_TAG for each in answer.get(row.tags.items, ())):
            return f"{cost}: it carries the tag {KEEP_TAG}"
        return ""

    def _call(self, call: str, region: str, asked: Mapping[str, Any]) -> Item:
        service, _, operation = call.partition(":")
        with calls.named(action_of(call)):
            answer: Item = getattr(self._client_in(service, region), xform_name(operation))(**asked)
            return answer


def _id(look: Look, item: Item) -> dict[str, str]:
    return {parameter: item[member] for parameter, member in look.ids.items()}


def _ids(look: Look, items: Iterable[Item]) -> list[dict[str, str]]:
    """Return what the next look is to be given, each once."""
    managed = [dict.fromkeys(look.ids, look.also)] if look.also else []
    found = [*managed, *(_id(look, item) for item in items)]
    return [each for number, each in enumerate(found) if each not in found[:number]]


def _gap(row: Row, region: str, failures: Sequence[AwsCallError]) -> Job:
    why_not = f"{len(failures)} lists could not be read, so more may run ({failures[0]})"
    return Job(region, row.looks[-1].call, f"those not listed ({len(failures)})", kind=row.kind, why_not=why_not)


def _does_not_exist_there(error: AwsCallError, call: str) -> bool:
    """Tell whether a region lacks the service, as opposed to a look that failed.

    The SDK's endpoint data does not know the newer services. An endpoint that cannot be connected to is taken for one
    that is not there, but for Bedrock's own: it is in every region that is looked at, so an outage is never silent.
    """
    if error.code == "EndpointConnectionError":
        return not call.startswith("bedrock:")
    return _NOT_HERE.search(f"{error.code} {error}") is not None
