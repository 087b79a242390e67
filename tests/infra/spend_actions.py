"""The actions that cost money, listed by hand from AWS's pricing pages and service-authorization reference.

Written down apart from `lambdas/core/actions.py` on purpose: what is denied is held against this list, and a slip in
the one is not repeated in the other.
"""

SPEND: dict[str, tuple[str, ...]] = {
    "bedrock": (
        "InvokeModel",
        "InvokeModelWithResponseStream",
        "CallWithBearerToken",
        "InvokeTool",
        "ApplyGuardrail",
        "InvokeGuardrailChecks",
        "InvokeAutomatedReasoningPolicy",
        "StartAutomatedReasoningPolicyBuildWorkflow",
        "StartAutomatedReasoningPolicyTestWorkflow",
        "CreateModelInvocationJob",
        "CreateModelCustomizationJob",
        "CreateCustomModel",
        "CreateModelImportJob",
        "CreateModelCopyJob",
        "CreateEvaluationJob",
        "CreateModelEvaluationJob",
        "CreateAdvancedPromptOptimizationJob",
        "OptimizePrompt",
        "CreateProvisionedModelThroughput",
        "UpdateProvisionedModelThroughput",
        "CreateCustomModelDeployment",
        "UpdateCustomModelDeployment",
        "CreateMarketplaceModelEndpoint",
        "UpdateMarketplaceModelEndpoint",
        "RegisterMarketplaceModelEndpoint",
        "CreateFoundationModelAgreement",
        "InvokeAgent",
        "InvokeInlineAgent",
        "InvokeFlow",
        "StartFlowExecution",
        "InvokeBuilder",
        "Retrieve",
        "RetrieveAndGenerate",
        "AgenticRetrieveStream",
        "GenerateQuery",
        "Rerank",
        "StartIngestionJob",
        "IngestKnowledgeBaseDocuments",
        "CreateKnowledgeBase",
        "InvokeDataAutomation",
        "InvokeDataAutomationAsync",
        "InvokeDataAutomationLibraryIngestionJob",
        "InvokeBlueprintOptimizationAsync",
        "InvokeBlueprintRecommendationAsync",
        "DetectGeneratedContent",
    ),
    "bedrock-mantle": (
        "CreateInference",
        "CallWithBearerToken",
        "CreateFineTuningJob",
        "CreateCustomizedModel",
        "AssociateCustomizedModel",
        "CreateReservation",
        "UpdateReservation",
        "CreateProject",
        "CreateFile",
    ),
    "bedrock-websearch": ("InvokeSearch", "InvokeFetch", "ExternalWebAccess"),
    "bedrock-agentcore": (
        "InvokeAgentRuntime",
        "InvokeAgentRuntimeForUser",
        "InvokeAgentRuntimeCommand",
        "InvokeAgentRuntimeCommandShell",
        "InvokeAgentRuntimeWithWebSocketStream",
        "InvokeAgentRuntimeWithWebSocketStreamForUser",
        "InvokeHarness",
        "InvokeGateway",
        "InvokeWebSearch",
        "InvokeCodeInterpreter",
        "InvokeRegistryMcp",
        "StartBrowserSession",
        "StartCodeInterpreterSession",
        "ConnectBrowserAutomationStream",
        "ConnectBrowserLiveViewStream",
        "Evaluate",
        "StartBatchEvaluation",
        "CreateOnlineEvaluationConfig",
        "StartRecommendation",
        "StartPolicyGeneration",
        "CreateABTest",
        "CreateEvent",
        "IngestData",
        "StartMemoryExtractionJob",
        "BatchCreateMemoryRecords",
        "RetrieveMemoryRecords",
        "CreateCapacityProvider",
        "UpdateCapacityProvider",
        "CreateHarness",
        "CreateAgentRuntime",
        "ProcessPayment",
        "GetResourcePaymentToken",
    ),
    "nova-act": ("CreateWorkflowRun", "CreateSession", "CreateAct", "InvokeActStep"),
    "aws-external-anthropic": (
        "CreateInference",
        "CreateBatchInference",
        "CallWithBearerToken",
        "AssumeConsole",
        "CreateDeployment",
        "UpdateDeployment",
        "RunDeployment",
        "UnpauseDeployment",
        "CreateSession",
        # Appends an event to a session that is open, which sets its agent to work.
        "UpdateSession",
    ),
}

OPTIONAL_SERVICE = "aws-external-anthropic"
"""Denied only where the configuration says so."""


def spend_actions(*, external_anthropic: bool = False) -> tuple[str, ...]:
    """Return the actions as policies spell them."""
    return tuple(
        f"{service}:{name}"
        for service, names in SPEND.items()
        if external_anthropic or service != OPTIONAL_SERVICE
        for name in names
    )
