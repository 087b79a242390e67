"""Listing what is there, against the shapes botocore knows for each operation."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from lambdas.aws.stock import Stock
from lambdas.core.errors import AwsCallError
from lambdas.core.inventory import CostKind
from lambdas.core.sights import BatchJob, BatchTokens, Copies, Holding

REGION = "us-east-1"
MONTH = datetime(2026, 11, 1, tzinfo=UTC)
CREATED = datetime(2026, 11, 20, 7, 30, tzinfo=UTC)
ENDED = CREATED + timedelta(hours=3)
ACCOUNT_ARN = "arn:aws:bedrock:us-east-1:123456789012"
NOVA = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"
PAGE = {"maxResults": 1000}
MODEL = f"{ACCOUNT_ARN}:imported-model/abcdefghijkl"


class Clients:
    """Stubbed clients of one region; what is asked of them must be what was expected, in that order."""

    def __init__(self) -> None:
        self.of: dict[str, Any] = {
            name: boto3.client(name, region_name=REGION) for name in ("bedrock", "cloudwatch", "ec2")
        }
        self.stubs = {name: Stubber(client) for name, client in self.of.items()}
        for stub in self.stubs.values():
            stub.activate()
        self.stock = Stock(lambda _: self.of["bedrock"], lambda _: self.of["cloudwatch"], lambda: self.of["ec2"])

    def answers(self, service: str, operation: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        self.stubs[service].add_response(operation, answer, asked)

    def refuses(self, service: str, operation: str) -> None:
        self.stubs[service].add_client_error(operation, "AccessDeniedException", "no")

    def done(self) -> None:
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()


@pytest.fixture
def clients():
    found = Clients()
    yield found
    found.done()


def test_profiles_are_found_by_id_and_by_arn_on_every_page(clients):
    def summary(name: str) -> dict[str, Any]:
        return {
            "inferenceProfileName": name,
            "inferenceProfileArn": f"{ACCOUNT_ARN}:application-inference-profile/{name}",
            "models": [{"modelArn": NOVA}],
            "inferenceProfileId": name,
            "status": "ACTIVE",
            "type": "APPLICATION",
        }

    asked = {"typeEquals": "APPLICATION", **PAGE}
    clients.answers(
        "bedrock",
        "list_inference_profiles",
        asked,
        {"inferenceProfileSummaries": [summary("a1b2c3d4e5f6")], "nextToken": "more"},
    )
    clients.answers(
        "bedrock",
        "list_inference_profiles",
        {**asked, "nextToken": "more"},
        {"inferenceProfileSummaries": [summary("second")]},
    )
    assert clients.stock.profiles(REGION) == {
        "a1b2c3d4e5f6": (NOVA,),
        f"{ACCOUNT_ARN}:application-inference-profile/a1b2c3d4e5f6": (NOVA,),
        "second": (NOVA,),
        f"{ACCOUNT_ARN}:application-inference-profile/second": (NOVA,),
    }


def provisioned(status: str, units: int, desired: int) -> dict[str, Any]:
    return {
        "provisionedModelName": status,
        "provisionedModelArn": f"{ACCOUNT_ARN}:provisioned-model/{status.lower()}",
        "modelArn": NOVA,
        "desiredModelArn": NOVA,
        "foundationModelArn": NOVA,
        "modelUnits": units,
        "desiredModelUnits": desired,
        "status": status,
        "creationTime": CREATED,
        "lastModifiedTime": CREATED,
    }


def test_provisioned_throughput_counts_its_units_unless_it_was_never_made(clients):
    summaries = [provisioned("InService", 2, 2), provisioned("Updating", 1, 3), provisioned("Failed", 9, 9)]
    clients.answers("bedrock", "list_provisioned_model_throughputs", PAGE, {"provisionedModelSummaries": summaries})
    arn = f"{ACCOUNT_ARN}:provisioned-model"
    assert clients.stock.provisioned(REGION) == [
        Holding(CostKind.PROVISIONED, "InService", f"{arn}/inservice", CREATED, units=2, unit=NOVA),
        Holding(CostKind.PROVISIONED, "Updating", f"{arn}/updating", CREATED, units=3, unit=NOVA),
    ]


def deployment(name: str, model: str, status: str = "Active") -> dict[str, Any]:
    return {
        "customModelDeploymentArn": f"{ACCOUNT_ARN}:custom-model-deployment/{name}",
        "customModelDeploymentName": name,
        "modelArn": model,
        "createdAt": CREATED,
        "status": status,
    }


def test_deployments_know_the_model_theirs_was_made_from(clients):
    custom = f"{ACCOUNT_ARN}:custom-model/mine"
    clients.answers(
        "bedrock",
        "list_custom_model_deployments",
        PAGE,
        {
            "modelDeploymentSummaries": [
                deployment("d", custom),
                deployment("lost", f"{custom}-gone"),
                deployment("failed", custom, "Failed"),
            ]
        },
    )
    clients.answers(
        "bedrock",
        "list_custom_models",
        PAGE,
        {
            "modelSummaries": [
                {
                    "modelArn": custom,
                    "modelName": "mine",
                    "creationTime": CREATED,
                    "baseModelArn": NOVA,
                    "baseModelName": "Nova",
                }
            ]
        },
    )
    arn = f"{ACCOUNT_ARN}:custom-model-deployment"
    assert clients.stock.deployments(REGION) == [
        Holding(CostKind.DEPLOYMENT, "d", f"{arn}/d", CREATED, unit=NOVA),
        Holding(CostKind.DEPLOYMENT, "lost", f"{arn}/lost", CREATED, unit=""),
    ]


def test_without_deployments_custom_models_are_not_asked_for(clients):
    clients.answers("bedrock", "list_custom_model_deployments", PAGE, {"modelDeploymentSummaries": []})
    assert clients.stock.deployments(REGION) == []


def endpoint(name: str) -> dict[str, Any]:
    return {
        "endpointArn": f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{name}",
        "modelSourceIdentifier": "arn:aws:sagemaker:us-east-1:aws:hub-content/SageMakerPublicHub/Model/x/1.0.0",
        "createdAt": CREATED,
        "updatedAt": CREATED,
    }


def test_marketplace_endpoints_are_instances_of_a_type(clients):
    clients.answers(
        "bedrock",
        "list_marketplace_model_endpoints",
        PAGE,
        {"marketplaceModelEndpoints": [endpoint("e"), endpoint("failed")]},
    )
    machine = {"initialInstanceCount": 2, "instanceType": "ml.g5.2xlarge", "executionRole": "arn:aws:iam::1:role/r"}
    for name, status in (("e", "InService"), ("failed", "Failed")):
        details = endpoint(name) | {"endpointConfig": {"sageMaker": machine}, "endpointStatus": status}
        clients.answers(
            "bedrock",
            "get_marketplace_model_endpoint",
            {"endpointArn": details["endpointArn"]},
            {"marketplaceModelEndpoint": details},
        )
    assert clients.stock.endpoints(REGION) == [
        Holding(CostKind.ENDPOINT, "e", endpoint("e")["endpointArn"], CREATED, units=2, unit="ml.g5.2xlarge")
    ]


def test_customization_jobs_have_an_end_once_they_ended(clients):
    def job(name: str, status: str, **more: datetime) -> dict[str, Any]:
        return {
            "jobArn": f"{ACCOUNT_ARN}:model-customization-job/{name}",
            "baseModelArn": NOVA,
            "jobName": name,
            "status": status,
            "creationTime": CREATED,
            **more,
        }

    jobs = [
        job("runs", "InProgress", lastModifiedTime=ENDED),
        job("stopping", "Stopping", lastModifiedTime=ENDED),
        job("done", "Completed", endTime=ENDED, lastModifiedTime=ENDED + timedelta(hours=1)),
        job("failed", "Failed", lastModifiedTime=ENDED),
        job("unclear", "Stopped"),
    ]
    clients.answers(
        "bedrock",
        "list_model_customization_jobs",
        {"creationTimeAfter": datetime(2026, 10, 1, tzinfo=UTC), **PAGE},
        {"modelCustomizationJobSummaries": jobs},
    )
    found = clients.stock.customization_jobs(REGION, MONTH)
    assert {each.name: each.until for each in found} == {
        "runs": None,
        "stopping": None,
        "done": ENDED,
        "failed": ENDED,
        "unclear": None,
    }
    assert {(each.kind, each.since, each.unit, each.free) for each in found} == {
        (CostKind.CUSTOMIZATION, CREATED, NOVA, False)
    }


def test_running_evaluations_are_free_unless_people_do_them(clients):
    jobs = [
        {
            "jobArn": f"{ACCOUNT_ARN}:evaluation-job/{kind}",
            "jobName": kind,
            "status": "InProgress",
            "creationTime": CREATED,
            "jobType": kind,
            "evaluationTaskTypes": ["Summarization"],
        }
        for kind in ("Automated", "Human")
    ]
    clients.answers("bedrock", "list_evaluation_jobs", {"statusEquals": "InProgress", **PAGE}, {"jobSummaries": jobs})
    assert {each.name: each.free for each in clients.stock.evaluation_jobs(REGION)} == {
        "Automated": True,
        "Human": False,
    }


def batch_job(status: str, **counts: Any) -> dict[str, Any]:
    return {
        "jobArn": f"{ACCOUNT_ARN}:model-invocation-job/abcdefghijkl",
        "jobName": "nightly",
        "modelId": "amazon.nova-pro-v1:0",
        "roleArn": "arn:aws:iam::123456789012:role/batch",
        "submitTime": CREATED,
        "status": status,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://in/"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://out/"}},
        **counts,
    }


@pytest.mark.parametrize(
    ("job", "until", "records"),
    [
        (batch_job("InProgress", totalRecordCount=100, processedRecordCount=40), None, 40),
        (batch_job("Stopping", processedRecordCount=40, successRecordCount=41, errorRecordCount=2), None, 43),
        (batch_job("Completed", endTime=ENDED, successRecordCount=90, errorRecordCount=10), ENDED, 100),
        (batch_job("Completed", endTime=ENDED, totalRecordCount=100), ENDED, 100),
        (batch_job("PartiallyCompleted", lastModifiedTime=ENDED), ENDED, None),
        (batch_job("InProgress"), None, None),
        (batch_job("Submitted", totalRecordCount=100), None, 0),
        (batch_job("Failed", endTime=ENDED, totalRecordCount=100), ENDED, 0),
    ],
)
def test_batch_jobs_tell_their_records_or_that_they_do_not(clients, job, until, records):
    clients.answers(
        "bedrock",
        "list_model_invocation_jobs",
        {"submitTimeAfter": datetime(2026, 10, 24, tzinfo=UTC), **PAGE},
        {"invocationJobSummaries": [job]},
    )
    assert clients.stock.batch_jobs(REGION, MONTH) == [
        BatchJob("nightly", job["jobArn"], "amazon.nova-pro-v1:0", CREATED, until, records)
    ]


def series(name: str, model: str, **more: str) -> dict[str, Any]:
    dimensions = {"ModelId": model, **more}
    return {
        "Namespace": "AWS/Bedrock/Batch",
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }


INPUT, OUTPUT = "NumberOfInputTokensProcessedPerMinute", "NumberOfOutputTokensProcessedPerMinute"


def test_batch_tokens_are_summed_by_hour_on_the_one_dimension(clients):
    wanted = [series(INPUT, "m"), series(OUTPUT, "m")]
    others = [
        series("NumberOfRecordsPendingProcessing", "m"),
        series(INPUT, "m", Other="x"),
        {**wanted[0], "Dimensions": []},
    ]
    clients.answers("cloudwatch", "list_metrics", {"Namespace": "AWS/Bedrock/Batch"}, {"Metrics": [*wanted, *others]})
    clients.answers(
        "cloudwatch",
        "get_metric_data",
        {
            "MetricDataQueries": [
                {"Id": f"m{index}", "MetricStat": {"Metric": each, "Period": 3600, "Stat": "Sum"}}
                for index, each in enumerate(wanted)
            ],
            "StartTime": MONTH,
            "EndTime": CREATED,
        },
        {
            "MetricDataResults": [
                {"Id": "m0", "Timestamps": [MONTH, CREATED], "Values": [10.0, 20.5], "StatusCode": "Complete"},
                {"Id": "m1", "Timestamps": [MONTH], "Values": [3.0], "StatusCode": "Complete"},
            ]
        },
    )
    assert clients.stock.batch_tokens(REGION, MONTH, CREATED) == [
        BatchTokens("m", MONTH, 10, 3),
        BatchTokens("m", CREATED, 21, 0),
    ]


@pytest.mark.parametrize(
    "results",
    [
        [{"Id": "m0", "StatusCode": "PartialData", "Timestamps": [MONTH], "Values": [1.0]}],
        [{"Id": "m0", "StatusCode": "Forbidden"}],
        [{"Id": "m0", "StatusCode": "Complete", "Timestamps": [MONTH], "Values": [-1.0]}],
        [{"Id": "m0", "StatusCode": "Complete", "Timestamps": [MONTH], "Values": [float("nan")]}],
        [],
    ],
)
def test_tokens_that_do_not_come_whole_are_no_tokens_but_an_error(clients, results):
    clients.answers("cloudwatch", "list_metrics", {"Namespace": ANY}, {"Metrics": [series(INPUT, "m")]})
    clients.answers(
        "cloudwatch",
        "get_metric_data",
        {"MetricDataQueries": ANY, "StartTime": ANY, "EndTime": ANY},
        {"MetricDataResults": results},
    )
    with pytest.raises(AwsCallError, match="cloudwatch:GetMetricData"):
        clients.stock.batch_tokens(REGION, MONTH, CREATED)


def test_imported_models_tell_their_units_and_copies_under_either_name(clients):
    clients.answers(
        "bedrock",
        "list_imported_models",
        PAGE,
        {"modelSummaries": [{"modelArn": MODEL, "modelName": "mine", "creationTime": CREATED}]},
    )
    clients.answers(
        "bedrock",
        "get_imported_model",
        {"modelIdentifier": MODEL},
        {"customModelUnits": {"customModelUnitsPerModelCopy": 8, "customModelUnitsVersion": "1.0"}},
    )
    clients.answers(
        "cloudwatch",
        "get_metric_data",
        {
            "MetricDataQueries": [
                {
                    "Id": f"m{index}",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/Bedrock",
                            "MetricName": "ModelCopy",
                            "Dimensions": [{"Name": "ModelId", "Value": name}],
                        },
                        "Period": 300,
                        "Stat": "Maximum",
                    },
                }
                for index, name in enumerate((MODEL, "abcdefghijkl"))
            ],
            "StartTime": MONTH,
            "EndTime": CREATED,
        },
        {
            "MetricDataResults": [
                {"Id": "m0", "Timestamps": [MONTH], "Values": [1.0], "StatusCode": "Complete"},
                {"Id": "m1", "Timestamps": [CREATED], "Values": [2.0], "StatusCode": "Complete"},
            ]
        },
    )
    assert clients.stock.imported(REGION, MONTH, CREATED) == [
        Copies("mine", MODEL, 8, {MONTH: Decimal(1), CREATED: Decimal(2)})
    ]


def test_without_imported_models_no_metric_is_read(clients):
    clients.answers("bedrock", "list_imported_models", PAGE, {"modelSummaries": []})
    assert clients.stock.imported(REGION, MONTH, CREATED) == []


def test_the_regions_of_the_account_are_those_enabled(clients):
    clients.answers(
        "ec2", "describe_regions", {}, {"Regions": [{"RegionName": "us-east-1"}, {"RegionName": "af-south-1"}]}
    )
    assert clients.stock.regions() == ["af-south-1", "us-east-1"]


def test_a_plane_is_in_use_when_it_had_any_metric_lately(clients):
    lately = {"RecentlyActive": "PT3H"}
    clients.answers(
        "cloudwatch",
        "list_metrics",
        {"Namespace": "AWS/Bedrock", **lately},
        {"Metrics": [{"Namespace": "AWS/Bedrock", "MetricName": "Invocations", "Dimensions": []}], "NextToken": "more"},
    )
    clients.answers("cloudwatch", "list_metrics", {"Namespace": "AWS/BedrockMantle", **lately}, {"Metrics": []})
    assert clients.stock.planes_in_use(REGION) == ("AWS/Bedrock",)


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("list_inference_profiles", lambda stock: stock.profiles(REGION)),
        ("list_provisioned_model_throughputs", lambda stock: stock.provisioned(REGION)),
        ("list_custom_model_deployments", lambda stock: stock.deployments(REGION)),
        ("list_marketplace_model_endpoints", lambda stock: stock.endpoints(REGION)),
        ("list_model_customization_jobs", lambda stock: stock.customization_jobs(REGION, MONTH)),
        ("list_evaluation_jobs", lambda stock: stock.evaluation_jobs(REGION)),
        ("list_imported_models", lambda stock: stock.imported(REGION, MONTH, CREATED)),
        ("list_model_invocation_jobs", lambda stock: stock.batch_jobs(REGION, MONTH)),
    ],
)
def test_a_call_that_is_refused_is_named(clients, operation, call):
    clients.refuses("bedrock", operation)
    with pytest.raises(AwsCallError, match=r"bedrock:List.*: AccessDeniedException: no"):
        call(clients.stock)
