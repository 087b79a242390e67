"""Work in flight and standing capacity: the table against the SDK's models, and what is listed, stopped, and left."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from lambdas.aws.work import ROWS, Look, Row, Work, action_of
from lambdas.core.assumptions import Assumptions
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, permissions_of
from lambdas.core.plan import Job, Listing, StopJob
from lambdas.core.work import IRREVERSIBLE, KEEP_TAG, UNSTOPPABLE, Capacity, Choice, Kind, why_kept
from tests.shapes import item_of, operation, shaped

REGION = "us-east-1"
NOW = datetime(2026, 11, 20, 7, 30, tzinfo=UTC)
ARN = "arn:aws:bedrock:us-east-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/batch"
NOVA = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"
ALL = Choice(irreversible=tuple(each.key for each in IRREVERSIBLE))
ENDED = {"Completed", "Failed", "Stopping", "Stopped", "PartiallyCompleted", "Expired", "Deleting", "Succeeded"} | {
    *("TimedOut", "Aborted", "COMPLETE", "FAILED", "STOPPING", "STOPPED", "CANCEL_REQUESTED", "COMPLETED", "CANCELLED"),
    *("COMPLETED_WITH_ERRORS", "DELETING", "TERMINATED"),
}
"""Statuses in which nothing more is spent, or is being stopped already."""

BY_KIND = {row.kind: row for row in ROWS}


def looks() -> Iterator[tuple[Row, Look]]:
    yield from ((row, look) for row in ROWS for look in row.looks)


def by_kind(row: Row) -> str:
    return row.kind.key


# --- the table ---


def test_every_kind_has_one_row():
    assert [row.kind for row in ROWS] == list(Kind)
    assert {row.kind for row in ROWS if not row.stop} == set(UNSTOPPABLE)
    assert {row.kind for row in ROWS if row.capacity} == {row.kind for row in ROWS if row.tags} == set(IRREVERSIBLE)


@pytest.mark.parametrize("row", ROWS, ids=by_kind)
def test_every_look_is_made_as_the_sdk_knows_it(row):
    known: set[str] = set()
    for look in row.looks:
        asked = operation(look.call).input_shape.members
        assert known | {"maxResults", "nextToken"} <= set(asked)
        assert look.page <= asked["maxResults"].metadata.get("max", 1000)
        assert set(operation(look.call).input_shape.required_members) <= known
        assert "nextToken" in operation(look.call).output_shape.members
        assert set(look.ids.values()) <= set(item_of(look).required_members)
        known |= set(look.ids)
    if row.by_status:
        for name, value in row.by_status("X").items():
            filtered = operation(row.looks[-1].call).input_shape.members[name]
            enum = {"filters": ["X"]}.get(name, getattr(filtered, "enum", None))
            assert enum, name
            assert "X" in str(value)
            assert name == "filters" or set(row.running) <= set(enum)


@pytest.mark.parametrize("row", [row for row in ROWS if row.running], ids=by_kind)
def test_what_runs_is_every_status_but_the_ends(row):
    statuses = item_of(row.looks[-1]).members[row.status].enum
    assert set(row.running) == set(statuses) - ENDED


@pytest.mark.parametrize("row", [row for row in ROWS if row.stop], ids=by_kind)
def test_what_the_looks_find_is_what_the_stop_is_asked(row):
    found = {parameter for look in row.looks for parameter in look.ids}
    asked = operation(row.stop).input_shape
    assert set(asked.required_members) <= found <= set(asked.members)


@pytest.mark.parametrize("row", ROWS, ids=by_kind)
def test_names_roles_and_tags_are_members_the_sdk_knows(row):
    answers = dict(item_of(row.looks[-1]).members)
    found = {parameter for look in row.looks for parameter in look.ids}
    if row.detail:
        assert set(operation(row.detail.call).input_shape.required_members) <= set(row.detail.given) <= found
        shape = operation(row.detail.call).output_shape
        for member in row.detail.within:
            shape = shape.members[member]
        answers |= dict(shape.members)
    assert set(row.names) <= set(answers) | found
    assert not row.role or row.role in answers
    if row.tags:
        assert operation(row.tags.call).input_shape.required_members == [row.tags.parameter]
        tag = operation(row.tags.call).output_shape.members[row.tags.items].member
        assert row.tags.key in tag.required_members


def test_every_permission_is_declared_and_deletion_stands_apart():
    reads = {(action, each.on) for each in permissions_of([Work.listings]) for action in each.actions}
    writes = {(action, each.on) for each in permissions_of([Work.stop]) for action in each.actions}
    assert reads == {each for row in ROWS for each in row.reads}
    assert writes == {each for row in ROWS for each in row.writes}
    assert all(on is not On.EVERYTHING for _, on in writes)
    assert all(action.partition(":")[2].startswith(("List", "Get", "Describe")) for action, _ in reads)
    assert {action_of(look.call).partition(":")[0] for _, look in looks()} == {"bedrock", "bedrock-agentcore"}


# --- listing and stopping ---


class Clients:
    """Stubbed clients of one region; each call must come as it was expected, in that order for each service."""

    def __init__(self) -> None:
        self.of: dict[str, Any] = {}
        self.stubs: dict[str, Stubber] = {}

    def client_in(self, service: str, region: str) -> Any:
        assert region == REGION
        if service not in self.of:
            self.of[service] = boto3.client(service, region_name=region)  # type: ignore[call-overload]
            self.stubs[service] = Stubber(self.of[service])
            self.stubs[service].activate()
        return self.of[service]

    def answers(self, call: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        service, _, name = call.partition(":")
        self.client_in(service, REGION)
        self.stubs[service].add_response(xform_name(name), answer, asked)

    def refuses(self, call: str, code: str = "AccessDeniedException", message: str = "no") -> None:
        service, _, name = call.partition(":")
        self.client_in(service, REGION)
        self.stubs[service].add_client_error(xform_name(name), code, message)

    def work(self, choice: Choice | None = None, assumptions: Assumptions | None = None) -> Work:
        return Work(self.client_in, (REGION,), now=lambda: NOW, choice=choice, assumptions=assumptions)

    def found(self, kind: Kind, choice: Choice | None = None, assumptions: Assumptions | None = None) -> list[Job]:
        (listing,) = [each for each in self.work(choice, assumptions).listings() if f"list {kind}s " in each.what]
        return list(listing.read())


@pytest.fixture
def clients():
    found = Clients()
    yield found
    for stub in found.stubs.values():
        stub.assert_no_pending_responses()


def one_of_each(clients: Clients, row: Row) -> dict[str, Any]:
    """Let AWS list one that runs, and return what the looks find out of it."""
    known: dict[str, Any] = {}
    first, last = row.looks[0], row.looks[-1]
    for look in row.looks:
        item = shaped(item_of(look)) | ({row.status: row.running[-1]} if look is last else {})
        statuses = [row.by_status(each) for each in row.running] if row.by_status and look is last else [{}]
        if look is not first and first.also:  # what AWS manages is asked about first, and has none
            managed = dict.fromkeys(first.ids, first.also)
            for asked in statuses:
                clients.answers(look.call, {**managed, **asked, "maxResults": look.page}, {look.items: []})
        for asked in statuses:
            found = [item] if asked is statuses[-1] else []
            clients.answers(look.call, {**known, **asked, "maxResults": look.page}, {look.items: found})
        known |= {parameter: item[member] for parameter, member in look.ids.items()}
    return known


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind not in IRREVERSIBLE], ids=by_kind)
def test_what_runs_is_found_with_its_role_and_stopped_by_what_was_found(clients, row):
    known = one_of_each(clients, row)
    if row.detail:
        answer = shaped(operation(row.detail.call).output_shape)
        (answer[row.detail.within[0]] if row.detail.within else answer)[row.role] = ROLE
        clients.answers(row.detail.call, {each: known[each] for each in row.detail.given}, answer)
    (job,) = clients.found(row.kind)
    assert (job.region, job.kind, bool(job.name)) == (REGION, row.kind, True)
    assert job.role_arn == (ROLE if row.detail else "roleArn-of-it-long-enough-for-any-pattern" if row.role else "")
    assert bool(job.why_not) is (row.kind in UNSTOPPABLE)
    if row.stop:
        clients.answers(row.stop, known, shaped(operation(row.stop).output_shape))
        clients.work().stop(StopJob(job))


@pytest.mark.parametrize("row", ROWS, ids=by_kind)
def test_a_refused_look_is_a_failure_that_names_the_call(clients, row):
    tries = len(row.running) if row.by_status and len(row.looks) == 1 else 1
    for _ in range(tries):
        clients.refuses(row.looks[0].call)
    if row.looks[0].also:  # what AWS manages is looked into all the same
        ids = {next(iter(row.looks[0].ids)): row.looks[0].also}
        clients.answers(row.looks[1].call, {**ids, "maxResults": 100, "status": "READY"}, {row.looks[1].items: []})
    with pytest.raises(AwsCallError) as refused:
        clients.found(row.kind)
    assert (refused.value.operation, refused.value.code) == (action_of(row.looks[0].call), "AccessDeniedException")


def summary(name: str, status: str = "InProgress") -> dict[str, Any]:
    return {
        "jobArn": f"{ARN}:advanced-prompt-optimization-job/{name}",
        "jobName": name,
        "jobStatus": status,
        "creationTime": NOW,
    }


OPTIMIZATIONS = "bedrock:ListAdvancedPromptOptimizationJobs"


def test_every_page_is_read_and_what_has_ended_is_left(clients):
    clients.answers(
        OPTIMIZATIONS,
        {"maxResults": 1000},
        {"jobSummaries": [summary("a"), summary("b", "Stopping")], "nextToken": "1"},
    )
    clients.answers(OPTIMIZATIONS, {"maxResults": 1000, "nextToken": "1"}, {"jobSummaries": [summary("c")]})
    assert [each.name for each in clients.found(Kind.OPTIMIZATION)] == ["a", "c"]


def test_a_page_that_comes_twice_is_a_failure_and_no_endless_loop(clients):
    for more in ({}, {"nextToken": "1"}):
        clients.answers(OPTIMIZATIONS, {"maxResults": 1000, **more}, {"jobSummaries": [], "nextToken": "1"})
    with pytest.raises(AwsCallError, match="RepeatedPage"):
        clients.found(Kind.OPTIMIZATION)


def test_an_item_that_could_not_be_stopped_by_name_is_a_failure():
    answer = {"jobSummaries": [{"jobName": "a", "jobStatus": "InProgress"}]}
    client = SimpleNamespace(list_advanced_prompt_optimization_jobs=lambda **_: answer)
    work = Work(lambda *_: client, (REGION,), now=lambda: NOW)
    (listing,) = [each for each in work.listings() if str(Kind.OPTIMIZATION) in each.what]
    with pytest.raises(AwsCallError, match=r"MalformedAnswer: 1 items without jobArn"):
        listing.read()


def executions(flow: str, *statuses: str) -> dict[str, Any]:
    return {
        "flowExecutionSummaries": [
            {
                "executionArn": f"{ARN}:flow/{flow}/alias/ALIAS12345/execution/{number}",
                "flowAliasIdentifier": "ALIAS12345",
                "flowIdentifier": flow,
                "flowVersion": "1",
                "status": status,
                "createdAt": NOW,
            }
            for number, status in enumerate(statuses)
        ]
    }


def flows(clients: Clients, *names: str) -> None:
    items = [{**shaped(item_of(BY_KIND[Kind.FLOW].looks[0])), "id": name} for name in names]
    clients.answers("bedrock-agent:ListFlows", {"maxResults": 1000}, {"flowSummaries": items})


LIST_EXECUTIONS = "bedrock-agent-runtime:ListFlowExecutions"


def told_flow(clients: Clients, flow: str) -> None:
    answer = shaped(operation("bedrock-agent:GetFlow").output_shape) | {"executionRoleArn": ROLE}
    clients.answers("bedrock-agent:GetFlow", {"flowIdentifier": flow}, answer)


def test_a_flow_that_cannot_be_looked_into_hides_no_other_and_is_told(clients):
    flows(clients, "FLOW000001", "FLOW000002")
    clients.refuses(LIST_EXECUTIONS, "ThrottlingException")
    asked = {"flowIdentifier": "FLOW000002", "maxResults": 1000}
    clients.answers(LIST_EXECUTIONS, asked, executions("FLOW000002", "Succeeded", "Running"))
    told_flow(clients, "FLOW000002")
    running, gap = clients.found(Kind.FLOW)
    assert (running.name, running.role_arn, running.why_not) == ("FLOW000002/1", ROLE, "")
    assert gap.why_not.startswith("1 lists could not be read, so more may run (bedrock:ListFlowExecutions: Throttling")


def test_a_flow_that_went_meanwhile_runs_nothing(clients):
    flows(clients, "FLOW000001")
    clients.refuses(LIST_EXECUTIONS, "ResourceNotFoundException")
    assert clients.found(Kind.FLOW) == []


def test_work_whose_role_cannot_be_read_is_left_and_told(clients):
    flows(clients, "FLOW000001")
    asked = {"flowIdentifier": "FLOW000001", "maxResults": 1000}
    clients.answers(LIST_EXECUTIONS, asked, executions("FLOW000001", "Running"))
    clients.refuses("bedrock-agent:GetFlow")
    (job,) = clients.found(Kind.FLOW)
    assert job.why_not.startswith("its service role cannot be read, and may be an exempt one (bedrock:GetFlow: Access")


def unreachable(service: str, region: str) -> Any:
    client = boto3.client(service, region_name=region)  # type: ignore[call-overload]

    def refuse(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url=f"https://{service}.{region}.amazonaws.com/")

    client.meta.events.register("before-send.*.*", refuse)
    return client


def failed(listing: Listing) -> bool:
    try:
        assert listing.read() == []
    except AwsCallError:
        return True
    return False


def test_a_service_without_an_endpoint_in_a_region_has_no_work_there_but_bedrock_itself_is_missed(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    made: dict[tuple[str, str], Any] = {}
    work = Work(lambda *key: made.setdefault(key, unreachable(*key)), (REGION,), now=lambda: NOW)
    missed = [row.kind for row, each in zip(ROWS, work.listings(), strict=True) if failed(each)]
    assert missed == [row.kind for row in ROWS if row.looks[0].call.startswith("bedrock:")]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("UnknownOperationException", ""),
        ("ValidationException", "This operation is not supported in this region."),
        ("AccessDeniedException", "AgentCore is not available in the eu-west-3 region"),
    ],
)
def test_what_a_region_does_not_have_is_no_failure(clients, code, message):
    clients.refuses(OPTIMIZATIONS, code, message)
    assert clients.found(Kind.OPTIMIZATION) == []


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "InternalServerException"])
def test_other_errors_are_failures(clients, code):
    clients.refuses(OPTIMIZATIONS, code)
    with pytest.raises(AwsCallError, match=code):
        clients.found(Kind.OPTIMIZATION)


def test_what_is_gone_when_it_is_to_be_stopped_is_fine_and_a_refusal_is_not(clients):
    step = StopJob(Job(REGION, f"{ARN}:model-invocation-job/a", "a"))
    clients.refuses("bedrock:StopModelInvocationJob", "ResourceNotFoundException")
    clients.work().stop(step)
    clients.refuses("bedrock:StopModelInvocationJob")
    with pytest.raises(AwsCallError, match="bedrock:StopModelInvocationJob: AccessDenied"):
        clients.work().stop(step)


def test_each_region_has_a_look_for_each_kind_but_for_those_spared():
    work = Work(unreachable, ("us-east-1", "eu-west-3"), now=lambda: NOW, choice=Choice(spare=("batch-job",)))
    names = [each.what for each in work.listings()]
    assert len(set(names)) == len(names) == 2 * (len(Kind) - 1)
    assert "list ingestion jobs in eu-west-3" in names
    assert not [each for each in names if "batch job" in each]


# --- standing capacity ---


def provisioned(**changes: Any) -> dict[str, Any]:
    return {
        "provisionedModelName": "pt",
        "provisionedModelArn": f"{ARN}:provisioned-model/abcdefghijkl",
        "modelArn": NOVA,
        "desiredModelArn": NOVA,
        "foundationModelArn": NOVA,
        "modelUnits": 1,
        "desiredModelUnits": 2,
        "status": "InService",
        "creationTime": NOW,
        "lastModifiedTime": NOW,
    } | changes


def provides(clients: Clients, *items: dict[str, Any]) -> None:
    answer = {"provisionedModelSummaries": list(items)}
    clients.answers("bedrock:ListProvisionedModelThroughputs", {"maxResults": 1000}, answer)


def tagged(clients: Clients, *keys: str) -> None:
    asked = {"resourceARN": f"{ARN}:provisioned-model/abcdefghijkl"}
    tags = [{"key": each, "value": ""} for each in keys]
    clients.answers("bedrock:ListTagsForResource", asked, {"tags": tags})


def test_capacity_is_told_with_its_price_unless_the_configuration_names_its_kind(clients):
    provides(clients, provisioned(), provisioned(status="Failed"))
    (job,) = clients.found(Kind.PROVISIONED)
    words = 'goes on costing about $328.00 an hour (assumed): add "provisioned-throughput" to work.irreversible'
    assert job.why_not == f"{words}, or delete it"


def test_the_users_own_price_is_not_called_assumed(clients):
    provides(clients, provisioned())
    (job,) = clients.found(Kind.PROVISIONED, None, Assumptions(usd_per_hour={"amazon.nova-pro*": Decimal("1.5")}))
    assert job.why_not.startswith("goes on costing about $3.00 an hour: add")


def test_named_and_untagged_capacity_is_deleted(clients):
    provides(clients, provisioned())
    tagged(clients, "team")
    (job,) = clients.found(Kind.PROVISIONED, ALL)
    assert job.why_not == ""
    clients.answers(
        "bedrock:DeleteProvisionedModelThroughput",
        {"provisionedModelId": f"{ARN}:provisioned-model/abcdefghijkl"},
        {},
    )
    clients.work(ALL).stop(StopJob(job))


def test_capacity_with_the_keep_tag_stays(clients):
    provides(clients, provisioned())
    tagged(clients, "team", KEEP_TAG)
    (job,) = clients.found(Kind.PROVISIONED, ALL)
    assert job.why_not == "goes on costing about $328.00 an hour (assumed): it carries the tag bedrock-spend-keep"


def test_capacity_whose_tags_cannot_be_read_stays(clients):
    provides(clients, provisioned())
    clients.refuses("bedrock:ListTagsForResource")
    (job,) = clients.found(Kind.PROVISIONED, ALL)
    assert "its tags cannot be read, bedrock-spend-keep may be among them (bedrock:ListTagsForRes" in job.why_not


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (datetime(2026, 12, 1, tzinfo=UTC), "before its term is over (OneMonth, it ends at 2026-12-01 00:00 UTC)"),
        (None, "before its term is over (OneMonth, its end is not known)"),
    ],
)
def test_committed_capacity_is_named_as_unstoppable_until_its_term_ends(clients, until, words):
    end = {} if until is None else {"commitmentExpirationTime": until}
    provides(clients, provisioned(commitmentDuration="OneMonth", **end))
    (job,) = clients.found(Kind.PROVISIONED, ALL)
    assert job.why_not.endswith(words)


def test_capacity_whose_term_is_over_is_deleted_as_any(clients):
    provides(clients, provisioned(commitmentDuration="OneMonth", commitmentExpirationTime=NOW))
    tagged(clients)
    assert [each.why_not for each in clients.found(Kind.PROVISIONED, ALL)] == [""]


ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e"


def endpoints(clients: Clients) -> None:
    row = BY_KIND[Kind.ENDPOINT]
    item = shaped(item_of(row.looks[0])) | {"endpointArn": ENDPOINT}
    clients.answers(row.looks[0].call, {"maxResults": 1000}, {row.looks[0].items: [item]})


def machines(clients: Clients, **config: Any) -> None:
    call = "bedrock:GetMarketplaceModelEndpoint"
    answer = shaped(operation(call).output_shape.members["marketplaceModelEndpoint"]) | {
        "endpointArn": ENDPOINT,
        "endpointConfig": {"sageMaker": config},
    }
    clients.answers(call, {"endpointArn": ENDPOINT}, {"marketplaceModelEndpoint": answer})


def test_a_marketplace_endpoint_costs_by_its_instances_and_its_tags_are_sagemakers(clients):
    machines(clients, initialInstanceCount=3, instanceType="ml.g5.2xlarge", executionRole=ROLE)
    endpoints(clients)
    # Stubs answer in the order they were told; the list comes first.
    clients.stubs["bedrock"]._queue.reverse()
    tags = [{"Key": KEEP_TAG, "Value": "yes"}]
    clients.answers("sagemaker:ListTags", {"ResourceArn": ENDPOINT}, {"Tags": tags})
    prices = Assumptions(usd_per_hour={"ml.g5.*": Decimal("1.52")})
    (job,) = clients.found(Kind.ENDPOINT, ALL, prices)
    assert (job.name, job.role_arn) == ("e", "")
    assert job.why_not == "goes on costing about $4.56 an hour: it carries the tag bedrock-spend-keep"


def test_an_endpoint_whose_instances_aws_does_not_tell_is_priced_by_the_unit(clients):
    endpoints(clients)
    clients.refuses("bedrock:GetMarketplaceModelEndpoint")
    (job,) = clients.found(Kind.ENDPOINT)
    assert job.why_not.startswith("goes on costing about $114.00 an hour (assumed) for each unit, their number is not")


def test_a_custom_model_deployment_is_deleted_by_its_arn(clients):
    row = BY_KIND[Kind.DEPLOYMENT]
    arn = f"{ARN}:custom-model-deployment/abcdefghijkl"
    item = shaped(item_of(row.looks[0])) | {"customModelDeploymentArn": arn, "status": "Active"}
    clients.answers(row.looks[0].call, {"maxResults": 1000}, {row.looks[0].items: [item]})
    clients.answers("bedrock:ListTagsForResource", {"resourceARN": arn}, {"tags": []})
    (job,) = clients.found(Kind.DEPLOYMENT, ALL)
    clients.answers(row.stop, {"customModelDeploymentIdentifier": arn}, {})
    clients.work(ALL).stop(StopJob(job))


def test_a_kind_without_any_price_says_so():
    words = Capacity(Kind.BATCH, ("x",)).hourly(Assumptions())
    assert words == "goes on costing by the hour, how much is not known"


UNTIL: st.SearchStrategy[datetime | None] = st.none() | st.datetimes(timezones=st.just(UTC))


@given(
    kind=st.sampled_from(IRREVERSIBLE),
    chosen=st.sets(st.sampled_from([each.key for each in IRREVERSIBLE])),
    term=st.sampled_from(["", "OneMonth", "SixMonths"]),
    until=UNTIL,
    units=st.none() | st.integers(1, 100),
)
def test_nothing_is_deleted_that_was_not_named_or_is_committed(kind, chosen, term, until, units):
    capacity = Capacity(kind, ("x",), units, term, until)
    why = why_kept(capacity, Choice(tuple(chosen)), Assumptions(), NOW)
    may_go = kind.key in chosen and (not term or (until is not None and until <= NOW))
    assert (why == "") is may_go
