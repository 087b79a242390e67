"""Bedrock's control plane, EC2 and CloudWatch: what is there and costs, names behind ids, regions in use."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.inventory import CostKind
from lambdas.core.permissions import On, needs
from lambdas.core.sights import COPY_WINDOW, BatchJob, BatchTokens, Copies, Holding
from lambdas.core.usage import clean_count

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock.type_defs import ModelInvocationJobSummaryTypeDef, PaginatorConfigTypeDef
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef, MetricTypeDef

PLANES = ("AWS/Bedrock", "AWS/BedrockMantle")
"""The namespaces in which use of Bedrock shows."""

_BATCH = "AWS/Bedrock/Batch"
_BATCH_TOKENS = ("NumberOfInputTokensProcessedPerMinute", "NumberOfOutputTokensProcessedPerMinute")
_GET_METRIC_DATA = "cloudwatch:GetMetricData"
_QUERIES_A_CALL = 500
_PAGE: "PaginatorConfigTypeDef" = {"PageSize": 1000}

_JOB_BEFORE = timedelta(days=8)
"""A job may have been handed in so long before it was done: AWS ends it after 7 days."""

_NOT_YET = frozenset({"Submitted", "Validating", "Scheduled"})
_RUNNING = frozenset({*_NOT_YET, "InProgress", "Stopping"})
_NOTHING_DONE = frozenset({*_NOT_YET, "Failed"})
"""AWS bills no failed job."""


class Ec2(Protocol):
    """The one call made of EC2."""

    def describe_regions(self) -> Mapping[str, Any]:
        """Return the regions that are enabled."""


class Stock:
    """What costs without showing in the token metrics. Safe to use from several threads."""

    def __init__(
        self,
        bedrock_in: "Callable[[str], BedrockClient]",
        cloudwatch_in: "Callable[[str], CloudWatchClient]",
        ec2: Callable[[], Ec2],
    ) -> None:
        """Take how to get clients for a region; they may be made anew at each call but had better be kept."""
        self._bedrock_in = bedrock_in
        self._cloudwatch_in = cloudwatch_in
        self._ec2 = ec2
        # Making clients is not safe side by side, using them is.
        self._making = Lock()

    @needs("ec2:DescribeRegions", on=On.EVERYTHING)
    def regions(self) -> Sequence[str]:
        """Return the regions that are enabled in the account."""
        with calls.named("ec2:DescribeRegions"):
            return sorted(each["RegionName"] for each in self._ec2().describe_regions()["Regions"])

    @needs("cloudwatch:ListMetrics", on=On.EVERYTHING)
    def planes_in_use(self, region: str) -> tuple[str, ...]:
        """Return the planes that had metrics in the last 3 hours; one call a plane."""
        with calls.named("cloudwatch:ListMetrics"):
            pages = {
                plane: self._cloudwatch(region)
                .get_paginator("list_metrics")
                .paginate(Namespace=plane, RecentlyActive="PT3H")
                for plane in PLANES
            }
            return tuple(plane for plane, found in pages.items() if any(page.get("Metrics") for page in found))

    @needs("bedrock:ListInferenceProfiles", on=On.EVERYTHING)
    def profiles(self, region: str) -> Mapping[str, tuple[str, ...]]:
        """Return the models behind application inference profiles, by id and by ARN."""
        names: dict[str, tuple[str, ...]] = {}
        with calls.named("bedrock:ListInferenceProfiles"):
            paginator = self._bedrock(region).get_paginator("list_inference_profiles")
            for page in paginator.paginate(typeEquals="APPLICATION", PaginationConfig=_PAGE):
                for each in page.get("inferenceProfileSummaries", ()):
                    models = tuple(model["modelArn"] for model in each["models"] if "modelArn" in model)
                    names[each["inferenceProfileId"]] = names[each["inferenceProfileArn"]] = models
        return names

    @needs("bedrock:ListProvisionedModelThroughputs", on=On.EVERYTHING)
    def provisioned(self, region: str) -> Sequence[Holding]:
        """Return provisioned throughput; what failed to be made is not billed."""
        with calls.named("bedrock:ListProvisionedModelThroughputs"):
            paginator = self._bedrock(region).get_paginator("list_provisioned_model_throughputs")
            return [
                Holding(
                    CostKind.PROVISIONED,
                    each["provisionedModelName"],
                    each["provisionedModelArn"],
                    _utc(each["creationTime"]),
                    units=max(each["modelUnits"], each["desiredModelUnits"]),
                    unit=each["foundationModelArn"],
                )
                for page in paginator.paginate(PaginationConfig=_PAGE)
                for each in page.get("provisionedModelSummaries", ())
                if each["status"] != "Failed"
            ]

    @needs("bedrock:ListCustomModelDeployments", "bedrock:ListCustomModels", on=On.EVERYTHING)
    def deployments(self, region: str) -> Sequence[Holding]:
        """Return custom-model deployments with the model each was made from, where that is known."""
        bedrock = self._bedrock(region)
        with calls.named("bedrock:ListCustomModelDeployments"):
            found = [
                each
                for page in bedrock.get_paginator("list_custom_model_deployments").paginate(PaginationConfig=_PAGE)
                for each in page.get("modelDeploymentSummaries", ())
                if each["status"] != "Failed"
            ]
        if not found:
            return []
        with calls.named("bedrock:ListCustomModels"):
            bases = {
                each["modelArn"]: each["baseModelArn"]
                for page in bedrock.get_paginator("list_custom_models").paginate(PaginationConfig=_PAGE)
                for each in page.get("modelSummaries", ())
            }
        return [
            Holding(
                CostKind.DEPLOYMENT,
                each["customModelDeploymentName"],
                each["customModelDeploymentArn"],
                _utc(each["createdAt"]),
                unit=bases.get(each["modelArn"], ""),
            )
            for each in found
        ]

    @needs("bedrock:ListMarketplaceModelEndpoints", "bedrock:GetMarketplaceModelEndpoint", on=On.EVERYTHING)
    @needs("sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", on=On.INSTANCE_DETAILS)
    def endpoints(self, region: str) -> Sequence[Holding]:
        """Return marketplace endpoints, which are SageMaker instances."""
        bedrock = self._bedrock(region)
        with calls.named("bedrock:ListMarketplaceModelEndpoints"):
            found = [
                each
                for page in bedrock.get_paginator("list_marketplace_model_endpoints").paginate(PaginationConfig=_PAGE)
                for each in page.get("marketplaceModelEndpoints", ())
            ]
        holdings = []
        for each in found:
            with calls.named("bedrock:GetMarketplaceModelEndpoint"):
                endpoint = bedrock.get_marketplace_model_endpoint(endpointArn=each["endpointArn"])
            details = endpoint["marketplaceModelEndpoint"]
            machine = details["endpointConfig"].get("sageMaker")
            if details["endpointStatus"] != "Failed":
                holdings.append(
                    Holding(
                        CostKind.ENDPOINT,
                        each["endpointArn"].rpartition("/")[2],
                        each["endpointArn"],
                        _utc(each["createdAt"]),
                        units=machine["initialInstanceCount"] if machine else 1,
                        unit=machine["instanceType"] if machine else "",
                    )
                )
        return holdings

    @needs("bedrock:ListModelCustomizationJobs", on=On.EVERYTHING)
    def customization_jobs(self, region: str, month: datetime) -> Sequence[Holding]:
        """Return the customization jobs that may have run since the month began."""
        with calls.named("bedrock:ListModelCustomizationJobs"):
            paginator = self._bedrock(region).get_paginator("list_model_customization_jobs")
            return [
                Holding(
                    CostKind.CUSTOMIZATION,
                    each["jobName"],
                    each["jobArn"],
                    _utc(each["creationTime"]),
                    until=_end(each, running=each["status"] in {"InProgress", "Stopping"}),
                    unit=each["baseModelArn"],
                )
                # Nothing says how long a job may take: a month before the month is more than any is known to.
                for page in paginator.paginate(creationTimeAfter=month - timedelta(days=31), PaginationConfig=_PAGE)
                for each in page.get("modelCustomizationJobSummaries", ())
            ]

    @needs("bedrock:ListEvaluationJobs", on=On.EVERYTHING)
    def evaluation_jobs(self, region: str) -> Sequence[Holding]:
        """Return the evaluation jobs that run.

        AWS bills an automated one by its model calls alone, which are in the token metrics. One that people work on
        is billed by the task, which no API counts: it is taken for a job by the hour.
        """
        with calls.named("bedrock:ListEvaluationJobs"):
            paginator = self._bedrock(region).get_paginator("list_evaluation_jobs")
            return [
                Holding(
                    CostKind.EVALUATION,
                    each["jobName"],
                    each["jobArn"],
                    _utc(each["creationTime"]),
                    free=each["jobType"] == "Automated",
                )
                for page in paginator.paginate(statusEquals="InProgress", PaginationConfig=_PAGE)
                for each in page.get("jobSummaries", ())
            ]

    @needs("bedrock:ListModelInvocationJobs", on=On.EVERYTHING)
    def batch_jobs(self, region: str, month: datetime) -> Sequence[BatchJob]:
        """Return the batch inference jobs that may have run since the month began."""
        with calls.named("bedrock:ListModelInvocationJobs"):
            paginator = self._bedrock(region).get_paginator("list_model_invocation_jobs")
            return [
                BatchJob(
                    each["jobName"],
                    each["jobArn"],
                    each["modelId"],
                    _utc(each["submitTime"]),
                    _end(each, running=each.get("status", "InProgress") in _RUNNING),
                    _records(each),
                )
                for page in paginator.paginate(submitTimeAfter=month - _JOB_BEFORE, PaginationConfig=_PAGE)
                for each in page.get("invocationJobSummaries", ())
            ]

    @needs("cloudwatch:ListMetrics", "cloudwatch:GetMetricData", on=On.EVERYTHING)
    def batch_tokens(self, region: str, since: datetime, until: datetime) -> Sequence[BatchTokens]:
        """Return the tokens of batch inference by model and hour, where CloudWatch counts them.

        The metrics are tokens a minute, one datapoint a minute: an hour's sum is the sum of its minutes, and CloudWatch
        still has it when the minutes are gone.
        """
        with calls.named("cloudwatch:ListMetrics"):
            pages = self._cloudwatch(region).get_paginator("list_metrics").paginate(Namespace=_BATCH)
            metrics: list[MetricTypeDef] = [
                {"Namespace": _BATCH, "MetricName": each["MetricName"], "Dimensions": each["Dimensions"]}
                for page in pages
                for each in page.get("Metrics", ())
                if each["MetricName"] in _BATCH_TOKENS and _model(each) is not None
            ]
        data = self._read(region, metrics, timedelta(hours=1), "Sum", (since, until))
        tokens: defaultdict[tuple[str, datetime], dict[str, int]] = defaultdict(dict)
        for metric, counts in zip(metrics, data, strict=True):
            for hour, count in counts.items():
                tokens[_model(metric) or "", hour][metric["MetricName"]] = count
        return [
            BatchTokens(model, hour, counts.get(_BATCH_TOKENS[0], 0), counts.get(_BATCH_TOKENS[1], 0))
            for (model, hour), counts in sorted(tokens.items())
        ]

    @needs("bedrock:ListImportedModels", "bedrock:GetImportedModel", "cloudwatch:GetMetricData", on=On.EVERYTHING)
    def imported(self, region: str, since: datetime, until: datetime) -> Sequence[Copies]:
        """Return the imported models and how many copies of each ran."""
        bedrock = self._bedrock(region)
        with calls.named("bedrock:ListImportedModels"):
            found = [
                each
                for page in bedrock.get_paginator("list_imported_models").paginate(PaginationConfig=_PAGE)
                for each in page.get("modelSummaries", ())
            ]
        units: list[int | None] = []
        for each in found:
            with calls.named("bedrock:GetImportedModel"):
                details = bedrock.get_imported_model(modelIdentifier=each["modelArn"])
            units.append(details.get("customModelUnits", {}).get("customModelUnitsPerModelCopy"))
        # Which of its names the metric has is not documented: one of the two has data.
        names = [name for each in found for name in (each["modelArn"], each["modelArn"].rpartition("/")[2])]
        metrics: list[MetricTypeDef] = [
            {
                "Namespace": "AWS/Bedrock",
                "MetricName": "ModelCopy",
                "Dimensions": [{"Name": "ModelId", "Value": name}],
            }
            for name in names
        ]
        data = self._read(region, metrics, COPY_WINDOW, "Maximum", (since, until))
        return [
            Copies(
                each["modelName"],
                each["modelArn"],
                units[index],
                {
                    start: Decimal(max(counts.get(start, 0) for counts in data[2 * index : 2 * index + 2]))
                    for start in sorted({*data[2 * index], *data[2 * index + 1]})
                },
            )
            for index, each in enumerate(found)
        ]

    def _read(
        self,
        region: str,
        metrics: "Sequence[MetricTypeDef]",
        period: timedelta,
        stat: str,
        span: tuple[datetime, datetime],
    ) -> list[dict[datetime, int]]:
        """Return the datapoints of each metric. Raises AwsCallError unless all came whole."""
        found: list[dict[datetime, int]] = [{} for _ in metrics]
        for first in range(0, len(metrics), _QUERIES_A_CALL):
            queries: list[MetricDataQueryTypeDef] = [
                {
                    "Id": f"m{index}",
                    "MetricStat": {"Metric": metric, "Period": int(period.total_seconds()), "Stat": stat},
                }
                for index, metric in enumerate(metrics[first : first + _QUERIES_A_CALL], start=first)
            ]
            with calls.named(_GET_METRIC_DATA):
                pages = self._cloudwatch(region).get_paginator("get_metric_data")
                results = [
                    result
                    for page in pages.paginate(MetricDataQueries=queries, StartTime=span[0], EndTime=span[1])
                    for result in page.get("MetricDataResults", ())
                ]
            # The status of the last page is the one that holds: earlier ones say PartialData while there is more.
            statuses = dict.fromkeys((query["Id"] for query in queries), "NoAnswer")
            for result in results:
                statuses[result["Id"]] = result.get("StatusCode", "Complete")
                counts = found[int(result["Id"].removeprefix("m"))]
                for start, value in zip(result.get("Timestamps", ()), result.get("Values", ()), strict=True):
                    counts[_utc(start)] = _count(value)
            for status in sorted({*statuses.values()} - {"Complete"}):
                raise AwsCallError(_GET_METRIC_DATA, status, "not all that was asked for came")
        return found

    def _bedrock(self, region: str) -> "BedrockClient":
        with self._making:
            return self._bedrock_in(region)

    def _cloudwatch(self, region: str) -> "CloudWatchClient":
        with self._making:
            return self._cloudwatch_in(region)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _end(job: Mapping[str, Any], *, running: bool) -> datetime | None:
    """Return when a job ended; one whose end AWS does not tell is taken to run on."""
    end = None if running else job.get("endTime") or job.get("lastModifiedTime")
    return None if end is None else _utc(end)


def _records(job: "ModelInvocationJobSummaryTypeDef") -> int | None:
    """Return how many records were processed, or the most it can be; None when AWS tells nothing."""
    done = [job["processedRecordCount"]] if "processedRecordCount" in job else []
    if "successRecordCount" in job or "errorRecordCount" in job:
        done.append(job.get("successRecordCount", 0) + job.get("errorRecordCount", 0))
    if done:
        return max(done)
    return 0 if job.get("status") in _NOTHING_DONE else job.get("totalRecordCount")


def _model(metric: Mapping[str, Any]) -> str | None:
    """Return the model of a metric that has this dimension and no other, however it is spelled."""
    names: Iterable[Mapping[str, str]] = metric.get("Dimensions", ())
    values = {each["Name"].lower(): each["Value"] for each in names}
    return values["modelid"] if values.keys() == {"modelid"} else None


def _count(value: float) -> int:
    count = clean_count(value)
    if count is None:
        raise AwsCallError(_GET_METRIC_DATA, "NoCount", f"{value!r} is no count of anything")
    return count
