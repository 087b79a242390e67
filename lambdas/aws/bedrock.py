"""Bedrock: work that goes on spending after every caller was denied."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.permissions import On, needs
from lambdas.core.plan import Job, StopJob

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock.literals import ModelInvocationJobStatusType

_RUNNING: tuple["ModelInvocationJobStatusType", ...] = ("Submitted", "Validating", "Scheduled", "InProgress")


class BatchJobs:
    """Batch inference jobs in the configured regions."""

    def __init__(self, client_in: "Callable[[str], BedrockClient]", regions: tuple[str, ...]) -> None:
        """Take how to get a client for a region, and the regions."""
        self._client_in = client_in
        self.regions = regions

    @needs("bedrock:ListModelInvocationJobs", on=On.EVERYTHING)
    def running(self, region: str) -> Sequence[Job]:
        """Return the jobs of a region that have not ended."""
        with calls.named("bedrock:ListModelInvocationJobs"):
            client = self._client_in(region)
            return [
                Job(region, each["jobArn"], each["jobName"], each.get("roleArn", ""))
                # By status, for the list holds every job that ever was.
                for status in _RUNNING
                for page in client.get_paginator("list_model_invocation_jobs").paginate(statusEquals=status)
                for each in page.get("invocationJobSummaries", ())
            ]

    @needs("bedrock:StopModelInvocationJob", on=On.BATCH_JOBS)
    def stop(self, step: StopJob) -> None:
        """Stop a job; what it has processed is billed."""
        with calls.named("bedrock:StopModelInvocationJob"):
            self._client_in(step.job.region).stop_model_invocation_job(jobIdentifier=step.job.arn)
