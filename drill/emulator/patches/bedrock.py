"""Bedrock: which action and which resource a call is authorized on, counting tokens, and batch jobs."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import json
import re
from collections.abc import Callable
from urllib.parse import unquote

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import BAD_REQUEST, Emulated, Response, module, wrap

AUTHORIZED_AS = {
    "bedrock:Converse": "bedrock:InvokeModel",
    "bedrock:ConverseStream": "bedrock:InvokeModelWithResponseStream",
    "bedrock:StartAsyncInvoke": "bedrock:InvokeModel",
    "bedrock:InvokeModelWithBidirectionalStream": "bedrock:InvokeModel",
}
MODEL_PATH = re.compile(
    r"^/model/(?P<id>.+)/(?:converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)$"
)
PROFILE_ID = re.compile(r"^(?:us|us-gov|eu|apac|au|ca|global|in|jp|sa)\.(?P<model>[^.]+\..+)$")
ARN_IN_PATH = re.compile(r"arn:aws[a-z-]*:bedrock:[^/]*/[^/]+")


@launcher_patch("bedrock-converse-action")
def _converse_action() -> None:
    def as_aws(original: Emulated) -> Emulated:
        def extract(service: str, *request: Emulated) -> str | None:
            action: str | None = original(service, *request)
            return AUTHORIZED_AS.get(action or "", action) if service == "bedrock-runtime" else action

        return extract

    wrap(module("core.iam_actions"), "extract_iam_action", as_aws)


@launcher_patch("bedrock-inference-profile-models")
def _inference_profiles() -> None:
    wrap(module("core.iam_actions"), "extract_resource_arn", _on_profile)
    wrap(module("core.iam_evaluator"), "enforce", _on_models_too)


def _on_profile(original: Emulated) -> Emulated:
    def extract(service: str, method: str, path: str, *rest: Emulated) -> str:
        found = MODEL_PATH.match(unquote(path)) if service == "bedrock-runtime" else None
        if found is None:
            return str(original(service, method, path, *rest))
        *_, region, account = rest
        model = found["id"]
        if model.startswith("arn:"):
            return model
        if PROFILE_ID.match(model):
            return f"arn:aws:bedrock:{region}:{account}:inference-profile/{model}"
        return f"arn:aws:bedrock:{region}::foundation-model/{model}"

    return extract


def _on_models_too(original: Emulated) -> Emulated:
    def enforce(key: str, action: str, service: str, region: str, **scope: Emulated) -> Emulated:
        denied = original(key, action, service, region, **scope)
        if denied or service != "bedrock-runtime":
            return denied
        profile = scope.get("resource_arn", "*")
        context = {**(scope.get("service_context") or {}), "bedrock:InferenceProfileArn": profile}
        for model in _models_behind(profile, region):
            denied = original(key, action, service, region, resource_arn=model, service_context=context)
            if denied:
                break
        return denied

    return enforce


def _models_behind(arn: str, region: str) -> list[str]:
    """List the foundation models behind an inference profile; none for anything else."""
    resource = arn.split(":", 5)[-1]  # a model id may hold a colon of its own
    if resource.startswith("inference-profile/"):
        known = PROFILE_ID.match(resource.partition("/")[2])
        return [f"arn:aws:bedrock:{region}::foundation-model/{known['model']}"] if known else []
    if resource.startswith("application-inference-profile/"):
        status, _, body = module("services.bedrock")._get_inference_profile(arn)
        sources = [model["modelArn"] for model in json.loads(body)["models"]] if status < BAD_REQUEST else []
        return [model for source in sources for model in _models_behind(source, region) or [source]]
    return []


@launcher_patch("bedrock-count-tokens")
def _count_tokens() -> None:
    runtime = module("services.bedrock_runtime")

    def counted(original: Emulated) -> Emulated:
        async def handle(method: str, path: str, headers: Emulated, body: bytes, query: Emulated) -> Response:
            if method == "POST" and path.endswith("/count-tokens"):
                messages = json.loads(body)["input"]["converse"]["messages"]
                tokens = runtime._estimate_tokens(runtime._messages_text(messages))
                return 200, {"Content-Type": "application/json"}, json.dumps({"inputTokens": tokens}).encode()
            answer: Response = await original(method, path, headers, body, query)
            return answer

        return handle

    wrap(runtime, "handle_request", counted)


@launcher_patch("bedrock-inference-profile-arn")
def _inference_profile_arn() -> None:
    def by_arn(original: Emulated) -> Emulated:
        def get(identifier: str) -> Response:
            answer: Response = original(identifier.rpartition("/")[2])
            return answer

        return get

    wrap(module("services.bedrock"), "_get_inference_profile", by_arn)


@launcher_patch("bedrock-resource-arn")
def _resource_arn() -> None:
    def in_path(original: Emulated) -> Emulated:
        def extract(service: str, method: str, path: str, *rest: Emulated) -> str:
            found = ARN_IN_PATH.search(unquote(path)) if service == "bedrock" else None
            return found[0] if found else str(original(service, method, path, *rest))

        return extract

    wrap(module("core.iam_actions"), "extract_resource_arn", in_path)


@launcher_patch("bedrock-batch-jobs")
def _batch_jobs() -> None:
    bedrock = module("services.bedrock")

    def listed(query: dict[str, list[str]]) -> Response:
        wanted = next(iter(query.get("statusEquals", [])), None)
        jobs = [
            {**job, "SubmitTime": job["CreationTime"]}
            for job in bedrock._model_invocation_jobs.values()
            if wanted in (None, job["Status"])
        ]
        answer: Response = bedrock._json({"InvocationJobSummaries": jobs})
        return answer

    def stoppable(original: Emulated) -> Emulated:
        def stop(identifier: str) -> Response:
            job = bedrock._model_invocation_jobs.get(identifier)
            refused = job is not None and job["Status"] not in ("Submitted", "Validating", "Scheduled", "InProgress")
            answer: Response = bedrock._conflict("The job has ended.") if refused else original(identifier)
            return answer

        return stop

    bedrock._list_model_invocation_jobs = listed
    wrap(bedrock, "_stop_model_invocation_job", stoppable)


@launcher_patch("bedrock-empty-lists")
def _empty_lists() -> None:
    bedrock = module("services.bedrock")
    empty = {
        "/advanced-prompt-optimization-jobs": "jobSummaries",
        "/model-customization/custom-model-deployments": "modelDeploymentSummaries",
        "/automated-reasoning-policies": "automatedReasoningPolicySummaries",
    }

    wrap(bedrock, "handle_request", _answering({("GET", path): key for path, key in empty.items()}))


@launcher_patch("agentcore-empty-lists")
def _agentcore_empty_lists() -> None:
    empty = {
        ("GET", "/evaluations/batch-evaluate"): "batchEvaluations",
        ("POST", "/browsers"): "browserSummaries",
        ("POST", "/code-interpreters"): "codeInterpreterSummaries",
        ("POST", "/browsers/aws.browser.v1/sessions/list"): "items",
        ("POST", "/code-interpreters/aws.codeinterpreter.v1/sessions/list"): "items",
    }
    wrap(module("services.bedrock_agentcore"), "handle_request", _answering(empty))
    wrap(module("core.iam_actions"), "extract_resource_arn", _on_managed_tool)


MANAGED_TOOL = re.compile(r"^/(browser|code-interpreter)s/(aws\.[^/]+)/sessions/")


def _on_managed_tool(original: Emulated) -> Emulated:
    def extract(service: str, method: str, path: str, *rest: Emulated) -> str:
        found = MANAGED_TOOL.match(path) if service == "bedrock-agentcore" else None
        if found is None:
            return str(original(service, method, path, *rest))
        return f"arn:aws:bedrock-agentcore:{rest[-2]}:aws:{found[1]}/{found[2]}"

    return extract


def _answering(empty: dict[tuple[str, str], str]) -> Callable[[Emulated], Emulated]:
    """Answer those requests with an empty list under that key."""
    bedrock = module("services.bedrock")

    def known(original: Emulated) -> Emulated:
        async def handle(method: str, path: str, headers: Emulated, body: bytes, query: Emulated) -> Response:
            if key := empty.get((method, path)):
                nothing: Response = bedrock._json({key: []})
                return nothing
            answer: Response = await original(method, path, headers, body, query)
            return answer

        return handle

    return known
