"""How people are told: who is subscribed to what, who may publish there, and how the functions know."""

import pytest

from tests.infra.template import listed

MAIL, CHAT, OTHERS = "Notices", "ChatNotices", "EscalatedNotices"
ALARMS = {
    "Sid": "AlarmsOfThisAccountOnly",
    "Effect": "Allow",
    "Principal": {"Service": "cloudwatch.amazonaws.com"},
    "Action": "sns:Publish",
    "Condition": {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:*:123456789012:alarm:*"},
    },
}


def topics(stack):
    """Return the topics people subscribe to, by name."""
    return {
        name.rstrip("0123456789ABCDEF"): name
        for name in stack.of_type("AWS::SNS::Topic")
        if name.startswith((MAIL, CHAT, OTHERS))
    }


def arn(stack, name):
    return stack.resolved({"Ref": stack.named(name, "AWS::SNS::Topic")})


def statements(stack, name):
    """Return what a topic's own policy says."""
    topic = {"Ref": stack.named(name, "AWS::SNS::Topic")}
    return [
        statement
        for each in stack.of_type("AWS::SNS::TopicPolicy").values()
        if each["Properties"]["Topics"] == [topic]
        for statement in stack.resolved(each["Properties"]["PolicyDocument"]["Statement"])
    ]


def test_chat_and_escalation_are_topics_of_their_own_where_they_are_configured(shipped, varied):
    assert len([each for each in shipped.of_type("AWS::SNS::Topic") if "Notices" in each]) == 1
    assert len([each for each in varied.of_type("AWS::SNS::Topic") if "Notices" in each]) == 3


def test_only_alarms_of_this_account_publish_beside_the_functions_and_only_over_tls(each_stack):
    assert topics(each_stack)
    for name in topics(each_stack).values():
        said = statements(each_stack, name)
        (tls,) = [each for each in said if each["Effect"] == "Deny"]
        assert tls["Principal"] in ("*", {"AWS": "*"})
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert listed(tls["Action"]) == ["sns:Publish"]
        allowed = [each for each in said if each["Effect"] == "Allow"]
        resource = arn(each_stack, name)
        assert allowed == ([ALARMS | {"Resource": resource}] if name.startswith(MAIL) else [])


def test_who_is_told_when_nobody_acts_is_subscribed_to_that_alone(varied):
    mailed = {
        each["Properties"]["Endpoint"]: varied.resolved(each["Properties"]["TopicArn"])
        for each in varied.of_type("AWS::SNS::Subscription").values()
        if each["Properties"]["Protocol"] == "email"
    }
    assert mailed == {
        "ops@example.com": arn(varied, MAIL),
        "finance@example.com": arn(varied, MAIL),
        "boss@example.com": arn(varied, OTHERS),
    }


def test_every_function_that_tells_knows_the_topics_and_may_publish_to_them_alone(shipped, varied):
    names = {"NOTICE_TOPIC_ARN": MAIL, "CHAT_TOPIC_ARN": CHAT, "ESCALATION_TOPIC_ARN": OTHERS}
    for stack, known in ((shipped, {"NOTICE_TOPIC_ARN"}), (varied, set(names))):
        expected = {name: arn(stack, names[name]) for name in known}
        telling = {word: each for word, each in stack.functions().items() if "sns:Publish" in each.granted}
        assert {"stop", "kill", "release", "meter", "digest"} <= set(telling)
        for word, each in telling.items():
            variables = each.properties["Environment"]["Variables"]
            assert {name: value for name, value in variables.items() if name in names} == expected, word
            (publish,) = [one for one in each.allows if "sns:Publish" in listed(one["Action"])]
            assert set(listed(publish["Resource"])) == set(expected.values())


@pytest.mark.parametrize("word", ["kill", "release"])
def test_owners_are_mailed_from_the_one_sender_and_only_where_that_is_configured(shipped, varied, word):
    assert "ses:SendEmail" not in shipped.functions()[word].granted
    (mail,) = [each for each in varied.functions()[word].allows if "ses:SendEmail" in listed(each["Action"])]
    identity = "arn:aws:ses:us-east-1:123456789012:identity"
    assert set(mail["Resource"]) == {f"{identity}/guard@example.com", f"{identity}/example.com"}
    assert mail["Condition"] == {"StringEquals": {"ses:FromAddress": "guard@example.com"}}


def test_nobody_else_mails_owners(varied):
    mailing = {word for word, each in varied.functions().items() if "ses:SendEmail" in each.granted}
    assert mailing == {"kill", "release"}


def test_the_digest_runs_soon_after_each_hour(each_stack):
    digest = each_stack.functions()["digest"].logical_id
    (rule,) = [
        each["Properties"]
        for each in each_stack.of_type("AWS::Events::Rule").values()
        if [target["Arn"] for target in each["Properties"].get("Targets", ())] == [{"Fn::GetAtt": [digest, "Arn"]}]
    ]
    assert rule["ScheduleExpression"] == "cron(6 * * * ? *)"
