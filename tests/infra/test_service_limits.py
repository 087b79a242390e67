"""What AWS refuses when a stack is deployed and no linter of templates sees: sizes, names, order.

Of every template of what ships, and of all that can be switched on under the longest prefix. The limits are those of
the services' quota pages; where AWS documents none, the source stands beside it.
"""

import json
import re
from dataclasses import dataclass, replace

import pytest
import yaml  # type: ignore[import-untyped]

from lambdas.core.errors import GuardrailError
from stacks.configuration import ConfigurationError, load
from tests.infra.conftest import ROOT, app_of, synthesized
from tests.infra.template import REGION, Synthesized, listed

LONGEST = "a23456789-b23456789-c234"
"""The longest prefix."""
FARTHEST = "ap-southeast-2"
"""No region has a longer name."""
ORGANIZATION = '[organization]\nmanagement_account = "999999999999"\naccount = "123456789012"\n'
SUFFIX = "-ABCDEFGHIJKL"
MADE_UP = {"AWS::Lambda::Function": 64, "AWS::Events::Rule": 64, "AWS::IAM::Role": 64}


def physical(stack_name, logical_id, most):
    """Return the name CloudFormation makes up: what is too long is cut, of the stack's name to half of the room.

    AWS documents none of it; inferred from real names: github.com/KensioSoftware/yulin/issues/1113.
    """
    room = most - len(SUFFIX) - 1
    if len(stack_name) + len(logical_id) > room:
        half = (room + 1) // 2
        stack_name = stack_name[: max(half, room - len(logical_id))]
        logical_id = logical_id[: room - len(stack_name)]
    return f"{stack_name}-{logical_id}{SUFFIX}"


@dataclass(frozen=True)
class Deployed(Synthesized):
    """A template with the names its resources would get."""

    stack_name: str = ""

    def _name(self, logical_id):
        found = super()._name(logical_id)
        kind = self.json["Resources"][logical_id]["Type"]
        return found if found != logical_id else physical(self.stack_name, logical_id, MADE_UP.get(kind, 255))

    def each(self, kind):
        """Yield name and properties of each resource of a type, references resolved."""
        for name, resource in self.of_type(kind).items():
            yield name, self.resolved(resource.get("Properties", {}))

    def documents(self):
        """Yield every policy document by the logical id of what has it, and the key of it."""
        for name, resource in self.json["Resources"].items():
            for key in ("PolicyDocument", "AssumeRolePolicyDocument", "KeyPolicy", "Content"):
                if key in resource.get("Properties", {}):
                    yield name, key, self.resolved(resource["Properties"][key])


def compact(value):
    return json.dumps(value, separators=(",", ":"))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Whatever can be switched on, under the longest prefix."""
    folder = tmp_path_factory.mktemp("everything")
    file = folder / "guardrail.toml"
    text = (ROOT / "drill" / "everything.toml").read_text(encoding="utf-8")
    assert '\nregions = ["us-east-1", ' in text
    text = text.replace('\nregions = ["us-east-1", ', f'\nprefix = "{LONGEST}"\nregions = ["us-east-1", "{FARTHEST}", ')
    file.write_text(f"{text}\n{ORGANIZATION}", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def deployed(shipped, shipped_app, everything, tmp_path_factory):
    """All templates: what ships; everything, from far away and from where anomalies are told; the organization's."""
    folder = tmp_path_factory.mktemp("deployed")
    apps = [
        shipped_app,
        app_of(everything, FARTHEST, folder / "far"),
        app_of(everything, REGION, folder / "home", **{"home-only": "true"}),
        app_of(everything, REGION, folder / "organization", organization="true"),
    ]
    return [Deployed(shipped.configuration, each.template, each.stack_name) for app in apps for each in app.stacks]


def of_each(deployed, kind):
    """Return name and resolved properties of each resource of a type in all templates, of which there is one at least.

    A check of none would pass whatever is wrong.
    """
    found = [(f"{stack.stack_name}/{name}", properties) for stack in deployed for name, properties in stack.each(kind)]
    assert found, kind
    return found


def test_the_longest_prefix_is_the_longest_that_is_allowed(everything):
    assert load(everything, home=REGION).settings.prefix == LONGEST
    one_more = everything.read_text(encoding="utf-8").replace(LONGEST, f"{LONGEST}x")
    longer = everything.with_name("longer.toml")
    longer.write_text(one_more, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="3 to 24"):
        load(longer, home=REGION)


def test_a_name_that_cloudformation_makes_up_is_cut_as_in_accounts():
    name = physical("ChineseboostAnalyticsStack", "RainlyticsSummariesJobFunction1C6CB09C", 64)
    assert name == f"ChineseboostAnalyticsStac-RainlyticsSummariesJobFun{SUFFIX}"
    assert physical("Stack", "Rule", 64) == f"Stack-Rule{SUFFIX}"


@pytest.mark.parametrize("kind", ["AWS::Events::Rule", "AWS::SNS::Topic", "AWS::DynamoDB::Table"])
def test_what_is_known_by_the_prefix_still_begins_with_it_when_its_name_was_cut(deployed, kind):
    """The queue lets rules and topics in by it, the rules on edits of our own things hear of them by it."""
    found = 0
    for stack in deployed:
        prefix = "bedrock-spend-" if stack.stack_name.startswith("bedrock-spend-") else f"{LONGEST}-"
        for name in stack.of_type(kind):
            assert stack._name(name).startswith(prefix), name
            found += 1
    assert found


def test_a_function_without_a_name_of_its_own_begins_with_the_prefix_too(deployed):
    names = [stack._name(each) for stack in deployed for each in stack.of_type("AWS::Lambda::Function")]
    assert all(each.startswith(("bedrock-spend-", f"{LONGEST}-")) and len(each) <= 64 for each in names)


def test_every_environment_fits_as_lambda_measures_it(deployed):
    """4 KB of the variables as one JSON object, in which quotation marks take two characters.

    Its error shows the "string measured": github.com/github-aws-runners/terraform-aws-github-runner/issues/3594.
    """
    for name, properties in of_each(deployed, "AWS::Lambda::Function"):
        assert len(compact(properties["Environment"]["Variables"])) <= 4096, name
        assert not [each for each in properties["Environment"]["Variables"] if each.startswith(("AWS_", "LAMBDA_"))]


def test_functions_are_as_lambda_takes_them(deployed):
    for name, properties in of_each(deployed, "AWS::Lambda::Function"):
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", properties.get("FunctionName", "generated")), name
        assert len(properties["Description"]) <= 256, name
        assert 128 <= properties["MemorySize"] <= 10_240, name
        assert 1 <= properties["Timeout"] <= 900, name


def test_asynchronous_calls_are_configured_within_what_lambda_takes(deployed):
    for name, properties in of_each(deployed, "AWS::Lambda::EventInvokeConfig"):
        assert 0 <= properties["MaximumRetryAttempts"] <= 2, name
        assert 60 <= properties.get("MaximumEventAgeInSeconds", 21_600) <= 21_600, name


def test_a_role_may_send_to_the_queue_before_lambda_checks_that_it_may(deployed):
    """Lambda refuses a destination its role may not send to, when the configuration is made."""
    checked = 0
    for stack in deployed:
        for name in stack.of_type("AWS::Lambda::EventInvokeConfig"):
            needed = stack.needs(name)
            allowing = [
                each
                for each in needed & set(stack.of_type("AWS::IAM::Policy"))
                if "sqs:SendMessage" in str(stack.json["Resources"][each]["Properties"]["PolicyDocument"])
            ]
            assert allowing, name
            checked += 1
    assert checked


def test_no_function_is_called_by_more_than_its_resource_policy_holds(deployed):
    """20 KB; a statement is what Lambda writes of a permission."""
    sizes: dict[tuple[str, str], int] = {}
    for name, properties in of_each(deployed, "AWS::Lambda::Permission"):
        statement = {
            "Sid": f"{LONGEST}-guardrail-{name.rpartition('/')[2]}-{'x' * 12}",
            "Effect": "Allow",
            "Principal": {"Service": properties["Principal"]},
            "Action": properties["Action"],
            "Resource": properties["FunctionName"],
            "Condition": {
                "ArnLike": {"AWS:SourceArn": properties.get("SourceArn", "")},
                "StringEquals": {"AWS:SourceAccount": properties.get("SourceAccount", "")},
            },
        }
        function = (name.partition("/")[0], properties["FunctionName"])
        sizes[function] = sizes.get(function, 0) + len(compact(statement))
    assert max(sizes.values()) <= 20_480 - 100


def test_nobody_but_known_callers_with_a_source_invokes_a_function(deployed):
    for name, properties in of_each(deployed, "AWS::Lambda::Permission"):
        assert properties["Principal"] in {"events.amazonaws.com", "sns.amazonaws.com"}, name
        assert properties["SourceArn"].startswith("arn:aws:"), name


def test_rules_are_as_eventbridge_takes_them(deployed):
    for name, properties in of_each(deployed, "AWS::Events::Rule"):
        assert len(compact(properties.get("EventPattern", {}))) <= 2048, name
        assert len(properties.get("Description", "")) <= 512, name
        assert 1 <= len(properties["Targets"]) <= 5, name
        for target in properties["Targets"]:
            assert re.fullmatch(r"[.\-_A-Za-z0-9]{1,64}", target["Id"]), name
            retries = target.get("RetryPolicy", {})
            assert 60 <= retries.get("MaximumEventAgeInSeconds", 86_400) <= 86_400, name
            assert 0 <= retries.get("MaximumRetryAttempts", 185) <= 185, name
            # A queue for what a rule could not deliver must be of the rule's own region, and another region's bus
            # takes a role.
            assert target["DeadLetterConfig"]["Arn"].split(":")[3] == REGION, name
            assert (":event-bus/" in target["Arn"]) == ("RoleArn" in target), name


def test_schedules_are_such_as_eventbridge_can_read(deployed):
    scheduled = [
        properties["ScheduleExpression"]
        for _, properties in of_each(deployed, "AWS::Events::Rule")
        if "ScheduleExpression" in properties
    ]
    assert any(each.startswith("cron") for each in scheduled)
    for each in scheduled:
        if rate := re.fullmatch(r"rate\((\d+) (\w+)\)", each):
            number, unit = int(rate[1]), rate[2]
            assert number > 0
            assert unit in ({"minute", "hour", "day"} if number == 1 else {"minutes", "hours", "days"}), each
        else:
            fields = each.removeprefix("cron(").removesuffix(")").split(" ")
            assert len(fields) == 6, each
            # Of the day of the month and the day of the week one must be left open.
            assert [fields[2], fields[4]].count("?") == 1, each


COMPARISONS = {"prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr", "equals-ignore-case"}


def leaves(pattern):
    """Yield the lists of a pattern; ``$or`` holds patterns."""
    for key, value in pattern.items():
        if key == "$or":
            assert len(value) >= 2
            for each in value:
                yield from leaves(each)
        elif isinstance(value, dict):
            assert value, key
            yield from leaves(value)
        else:
            assert isinstance(value, list), key
            assert value, key
            yield value


def test_patterns_use_what_putrule_reads(deployed):
    """Its errors: "empty arrays are not allowed", "unrecognized match type", "inside anything but list ...".

    Of two wildcards in a row, or many in one string, it says "rule is too complex".
    """
    for name, properties in of_each(deployed, "AWS::Events::Rule"):
        for values in leaves(properties.get("EventPattern", {})):
            for each in values:
                if isinstance(each, dict):
                    ((comparison, operand),) = each.items()
                    assert comparison in COMPARISONS, name
                    if comparison == "wildcard":
                        assert "**" not in operand, name
                        assert operand.count("*") <= 2, name
                    if comparison == "exists":
                        assert isinstance(operand, bool), name
                    if comparison == "anything-but":
                        # A string, a list of strings, or one further comparison.
                        plain = all(isinstance(one, str) for one in listed(operand))
                        assert plain or (isinstance(operand, dict) and len(operand) == 1), name


def test_policy_documents_fit(deployed):
    """Without white space: 6,144 characters of a managed policy, 2,048 of a role's trust, 32 KB of a key's policy.

    A topic's has 30,720 bytes, an SCP 10,240 characters; a queue's has 20 statements at most.
    """
    most = {
        ("AWS::IAM::ManagedPolicy", "PolicyDocument"): 6144,
        ("AWS::IAM::Role", "AssumeRolePolicyDocument"): 2048,
        ("AWS::IAM::Policy", "PolicyDocument"): 10_240,
        ("AWS::KMS::Key", "KeyPolicy"): 32_768,
        ("AWS::SNS::TopicPolicy", "PolicyDocument"): 20_480,
        ("AWS::SQS::QueuePolicy", "PolicyDocument"): 8192,
        ("AWS::Organizations::Policy", "Content"): 5120,
    }
    seen = set()
    for stack in deployed:
        for name, key, document in stack.documents():
            kind = stack.json["Resources"][name]["Type"]
            assert len(compact(document)) <= most[kind, key], name
            if kind == "AWS::SQS::QueuePolicy":
                assert len(document["Statement"]) <= 20, name
            seen.add((kind, key))
    assert seen == set(most)


def test_no_role_holds_more_than_iam_attaches(deployed):
    """Ten managed policies of a role, and 10,240 characters in all its inline ones."""
    for stack in deployed:
        inline: dict[str, int] = {}
        managed: dict[str, int] = {}
        for _, properties in stack.each("AWS::IAM::Policy"):
            for role in properties["Roles"]:
                inline[role] = inline.get(role, 0) + len(compact(properties["PolicyDocument"]))
        for _, properties in stack.each("AWS::IAM::ManagedPolicy"):
            for role in properties.get("Roles", ()):
                managed[role] = managed.get(role, 0) + 1
        assert max(inline.values()) <= 10_240
        assert max(managed.values(), default=0) <= 10


ARN = re.compile(r"arn:aws:[a-z0-9-]+:([a-z0-9-]+|\*|):(\d{12}|aws|\*|):\S+")


def test_statements_are_such_as_iam_reads(deployed):
    """Its "MalformedPolicyDocument": a Sid twice or of other signs, a resource that is no ARN, or of a region."""
    for stack in deployed:
        for name, key, document in stack.documents():
            sids = [each["Sid"] for each in document["Statement"] if "Sid" in each]
            assert len(set(sids)) == len(sids), name
            for statement in document["Statement"]:
                assert statement["Effect"] in {"Allow", "Deny"}
                if stack.json["Resources"][name]["Type"].startswith("AWS::IAM::"):
                    assert re.fullmatch(r"[A-Za-z0-9]*", statement.get("Sid", "")), name
                if key == "AssumeRolePolicyDocument":
                    continue
                for each in listed(statement.get("Resource", statement.get("NotResource", "*"))):
                    assert each == "*" or ARN.fullmatch(each), (name, each)
                    assert not each.startswith("arn:aws:iam:") or each.startswith("arn:aws:iam::"), (name, each)


def test_roles_and_policies_are_as_iam_takes_them(deployed):
    for name, properties in of_each(deployed, "AWS::IAM::Role"):
        assert len(properties.get("RoleName", "")) <= 64, name
        assert re.fullmatch(r"/([\x21-\x7E]{1,510}/)?", properties.get("Path", "/")), name
        assert re.fullmatch(r"[\t\n\r\x20-\x7E\xA1-\xFF]{0,1000}", properties.get("Description", "")), name
        assert 3600 <= properties.get("MaxSessionDuration", 3600) <= 43_200, name
    for name, properties in of_each(deployed, "AWS::IAM::ManagedPolicy"):
        assert re.fullmatch(r"[\w+=,.@-]{1,128}", properties.get("ManagedPolicyName", "generated")), name
        assert len(properties.get("Description", "")) <= 1000, name


def test_a_key_can_still_be_managed_by_its_account(deployed):
    """KMS refuses a policy that locks out whoever makes the key."""
    for name, properties in of_each(deployed, "AWS::KMS::Key"):
        roots = [
            each
            for each in properties["KeyPolicy"]["Statement"]
            if str(each["Principal"].get("AWS", "")).endswith(":root") and "kms:*" in listed(each["Action"])
        ]
        assert roots, name


def test_topics_and_queues_are_as_aws_takes_them(deployed):
    for name, properties in of_each(deployed, "AWS::SNS::Topic"):
        assert len(properties.get("DisplayName", "")) <= 100, name
    for name, properties in of_each(deployed, "AWS::SQS::Queue"):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", properties["QueueName"]), name
        assert 60 <= properties["MessageRetentionPeriod"] <= 1_209_600, name
    for kind, service in (("AWS::SNS::TopicPolicy", "sns"), ("AWS::SQS::QueuePolicy", "sqs")):
        for name, properties in of_each(deployed, kind):
            for statement in properties["PolicyDocument"]["Statement"]:
                # "Policy statement action out of service scope"; SNS takes no "sns:*" either.
                assert all(each.startswith(f"{service}:") for each in listed(statement["Action"])), name
                assert service == "sqs" or "sns:*" not in listed(statement["Action"]), name


def test_alarms_are_as_cloudwatch_takes_them(deployed):
    for name, properties in of_each(deployed, "AWS::CloudWatch::Alarm"):
        assert 1 <= len(properties["AlarmName"]) <= 255, name
        assert len(properties["AlarmDescription"]) <= 1024, name
        periods = (
            {properties["Period"]} if "Period" in properties else {each["Period"] for each in properties["Metrics"]}
        )
        assert all(each in {10, 20, 30} or each % 60 == 0 for each in periods), name
        assert properties["EvaluationPeriods"] * max(periods) <= 86_400, name
        assert properties.get("DatapointsToAlarm", 1) <= properties["EvaluationPeriods"], name
        for each in properties.get("Metrics", ()):
            assert re.fullmatch(r"[a-z][a-zA-Z0-9_]*", each["Id"]), name
            assert len(each["Expression"]) <= 2048, name
        assert sum(each.get("ReturnData", True) for each in properties.get("Metrics", ())) <= 1, name


def test_queries_of_alarms_are_one_select_within_three_hours(deployed):
    """One query an alarm, of at most the last three hours; in one that groups CloudWatch wants an order."""
    queries = [
        (name, properties)
        for name, properties in of_each(deployed, "AWS::CloudWatch::Alarm")
        if "SELECT" in str(properties.get("Metrics"))
    ]
    assert queries
    select = r'SELECT SUM\(\w+\) FROM SCHEMA\("[\w/]+"(, \w+)*\)( GROUP BY \w+ ORDER BY SUM\(\) DESC)?'
    for name, properties in queries:
        (query,) = properties["Metrics"]
        assert re.fullmatch(select, query["Expression"]), name
        assert properties["EvaluationPeriods"] * query["Period"] <= 3 * 3600, name


def test_dashboards_are_as_cloudwatch_takes_them(deployed):
    for name, properties in of_each(deployed, "AWS::CloudWatch::Dashboard"):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,255}", properties["DashboardName"]), name
        body = properties["DashboardBody"]
        assert len(body) <= 1_000_000, name
        widgets = json.loads(body)["widgets"]
        assert 1 <= len(widgets) <= 500, name
        for each in widgets:
            assert 1 <= each["width"] <= 24, name
            assert each.get("x", 0) + each["width"] <= 24, name
            assert 1 <= each["height"] <= 1000, name
            assert len(each["properties"].get("metrics", ())) <= 500, name


def test_budgets_are_as_aws_takes_them(deployed):
    for name, properties in of_each(deployed, "AWS::Budgets::Budget"):
        budget, notified = properties["Budget"], properties["NotificationsWithSubscribers"]
        assert 1 <= len(notified) <= 5, name
        # Either what is counted, or the older way to say it.
        assert not {"CostTypes", "CostFilters"} & set(budget), name
        assert budget["Metrics"] == ["UnblendedCost"], name
        kinds = [tuple(each["Notification"].values()) for each in notified]
        assert len(set(kinds)) == len(kinds), name
        for each in notified:
            forecasted = each["Notification"]["NotificationType"] == "FORECASTED"
            assert not (forecasted and budget["TimeUnit"] == "DAILY"), name
            ways = [one["SubscriptionType"] for one in each["Subscribers"]]
            assert ways.count("SNS") <= 1, name
            assert ways.count("EMAIL") <= 10, name


def test_what_budgets_does_by_itself_is_as_aws_takes_it(deployed):
    for name, properties in of_each(deployed, "AWS::Budgets::BudgetsAction"):
        ways = [each["Type"] for each in properties["Subscribers"]]
        assert 1 <= len(ways) <= 11, name
        assert ways.count("SNS") == 1, name
        assert all(0 < len(each) <= 100 for each in properties["Definition"]["IamActionDefinition"].values()), name


def test_anomalies_are_asked_for_as_aws_takes_it(deployed):
    for name, properties in of_each(deployed, "AWS::CE::AnomalySubscription"):
        # A mail takes longer; at once is by topic alone, by one.
        assert [each["Type"] for each in properties["Subscribers"]] == ["SNS"], name
        assert "Threshold" not in properties, name
        assert list(json.loads(properties["ThresholdExpression"])) == ["Dimensions"], name


def test_aws_may_publish_to_a_topic_before_it_checks_that_it_may(deployed):
    """Budgets and Cost Explorer publish, or ask whether they could, when they are told of a topic."""
    checked = 0
    for stack in deployed:
        for kind in ("AWS::Budgets::Budget", "AWS::Budgets::BudgetsAction", "AWS::CE::AnomalySubscription"):
            for name in stack.of_type(kind):
                needed = stack.needs(name)
                topics = needed & set(stack.of_type("AWS::SNS::Topic"))
                allowed = {
                    topic["Ref"]
                    for each in needed & set(stack.of_type("AWS::SNS::TopicPolicy"))
                    for topic in stack.json["Resources"][each]["Properties"]["Topics"]
                }
                assert topics, name
                assert topics <= allowed, name
                checked += 1
    assert checked


def test_custom_resources_are_as_cloudformation_takes_them(deployed):
    found = [
        (name, resource["Type"], resource["Properties"])
        for stack in deployed
        for name, resource in stack.json["Resources"].items()
        if resource["Type"].startswith("Custom::")
    ]
    assert found
    for name, kind, properties in found:
        assert re.fullmatch(r"Custom::[A-Za-z0-9_@-]{1,60}", kind), name
        assert 1 <= int(properties["ServiceTimeout"]) <= 3600, name


def test_templates_are_as_cloudformation_takes_them(deployed):
    for stack in deployed:
        text = json.dumps(stack.json, ensure_ascii=False)
        # It turns other letters into question marks.
        assert text.isascii(), stack.stack_name
        assert len(text) <= 1_000_000, stack.stack_name
        assert len(stack.json["Resources"]) <= 500, stack.stack_name
        assert len(stack.json.get("Outputs", {})) <= 200, stack.stack_name
        assert len(stack.json["Description"]) <= 1024, stack.stack_name
        assert re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9]{0,127}", stack.stack_name)
        assert not [name for name in stack.json["Resources"] if name in stack.needs(name)], stack.stack_name
        for each in stack.json.get("Outputs", {}).values():
            assert len(str(stack.resolved(each["Value"]))) <= 1024
            assert "Export" not in each


def test_a_region_without_a_bucket_takes_its_template_inline(deployed):
    """51,200 bytes; the CDK CLI writes YAML, and each resource's path into it."""
    inline = [each for each in deployed if not each.stack_name.endswith("-guardrail")]
    assert len(inline) > 3
    for stack in inline:
        longest = f"{stack.stack_name}/" + "x" * 80
        for each in stack.json["Resources"].values():
            each.setdefault("Metadata", {}).setdefault("aws:cdk:path", longest)
        assert len(yaml.safe_dump(stack.json, width=10_000)) <= 51_200, stack.stack_name


def test_no_allowed_list_makes_an_environment_that_lambda_refuses(shipped, tmp_path):
    """What is synthesized fits: settings that were thought to fit, and did not with what stands beside them."""
    sizes = []
    for number in range(120, 220, 20):
        many = replace(shipped.configuration.settings, regions=("us-east-1",) * number)
        configuration = replace(shipped.configuration, settings=many)
        try:
            stack = synthesized(configuration, tmp_path / str(number))
        except GuardrailError as error:
            assert "holds 4096: shorten" in str(error)  # noqa: PT017 - what was made before is looked at too
            break
        every = Deployed(configuration, stack.json, "guardrail").each("AWS::Lambda::Function")
        sizes.append(max(len(compact(properties["Environment"]["Variables"])) for _, properties in every))
    else:
        pytest.fail("nothing was refused")
    assert 3500 < max(sizes) <= 4096
