"""The ways out: the mail, the same in chat, the mail to more people, and the mail to an owner."""

import json
from datetime import UTC, date, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from lambdas.aws.ses import OwnerMail
from lambdas.aws.sns import NoticeTopic
from lambdas.core.chat import custom_notification
from lambdas.core.errors import AwsCallError
from lambdas.core.notice import Links, Notice, compose, subject_line

MAIL, CHAT, OTHERS = (f"arn:aws:sns:eu-central-1:123456789012:{name}" for name in ("mail", "chat", "others"))
NOTICE = Notice(
    "Bedrock spend: STOPPED", "Bedrock is stopped.\n\nLet it go on:\nhttps://release\n", "stop", urgent=True
)
DAY = date(2026, 11, 22)


@pytest.fixture
def sns() -> Any:
    return boto3.client("sns", region_name="eu-central-1")


def topic(sns: Any, *, chat: str = CHAT) -> NoticeTopic:
    clock = lambda: datetime(2026, 11, 22, 18, 30, tzinfo=UTC)  # noqa: E731
    return NoticeTopic(sns, MAIL, clock, chat_arn=chat, escalation_arn=OTHERS)


def notification(notice: Notice = NOTICE) -> dict[str, Any]:
    found = json.loads(custom_notification(notice, account="123456789012", region="eu-central-1", day=DAY))
    assert isinstance(found, dict)
    return found


def expected(stub: Stubber, arn: str, text: str, subject: str | None = None) -> None:
    asked = {"TopicArn": arn, "Message": text} | ({} if subject is None else {"Subject": subject})
    stub.add_response("publish", {"MessageId": "m"}, asked)


def chat_text() -> str:
    return custom_notification(NOTICE, account="123456789012", region="eu-central-1", day=DAY)


def test_a_notice_is_mailed_and_told_in_chat(sns: Any):
    with Stubber(sns) as stub:
        expected(stub, CHAT, chat_text())
        expected(stub, MAIL, NOTICE.text, NOTICE.subject)
        topic(sns).send(NOTICE)
        stub.assert_no_pending_responses()


def test_without_chat_it_is_mailed_alone(sns: Any):
    with Stubber(sns) as stub:
        expected(stub, MAIL, NOTICE.text, NOTICE.subject)
        topic(sns, chat="").send(NOTICE)
        stub.assert_no_pending_responses()


def test_a_chat_that_fails_keeps_no_mail_and_the_mail_says_so(sns: Any):
    with Stubber(sns) as stub:
        stub.add_client_error("publish", "NotFound", "Topic does not exist")
        told = "\nThis could not be told in chat: sns:Publish: NotFound: Topic does not exist\n"
        expected(stub, MAIL, NOTICE.text + told, NOTICE.subject)
        topic(sns).send(NOTICE)
        stub.assert_no_pending_responses()


def test_a_mail_that_fails_keeps_no_chat_and_is_raised(sns: Any):
    with Stubber(sns) as stub:
        expected(stub, CHAT, chat_text())
        stub.add_client_error("publish", "InternalError", "no")
        with pytest.raises(AwsCallError, match="sns:Publish: InternalError"):
            topic(sns).send(NOTICE)
        stub.assert_no_pending_responses()


def test_others_are_mailed_alone_and_nobody_where_there_are_none(sns: Any):
    with Stubber(sns) as stub:
        expected(stub, OTHERS, NOTICE.text, NOTICE.subject)
        topic(sns).escalate(NOTICE)
        NoticeTopic(sns, MAIL, lambda: datetime.now(UTC)).escalate(NOTICE)
        stub.assert_no_pending_responses()


def test_an_owner_is_mailed_from_the_sender_at_one_address():
    ses = boto3.client("sesv2", region_name="eu-central-1")
    with Stubber(ses) as stub:
        content = {
            "Simple": {
                "Subject": {"Data": NOTICE.subject, "Charset": "UTF-8"},
                "Body": {"Text": {"Data": NOTICE.text, "Charset": "UTF-8"}},
            }
        }
        asked = {
            "FromEmailAddress": "guard@example.com",
            "Destination": {"ToAddresses": ["ada@example.com"]},
            "Content": content,
        }
        stub.add_response("send_email", {"MessageId": "m"}, asked)
        OwnerMail(ses, "guard@example.com").send_to("ada@example.com", NOTICE)
        stub.add_client_error("send_email", "MessageRejected", "not verified")
        with pytest.raises(AwsCallError, match="ses:SendEmail: MessageRejected"):
            OwnerMail(ses, "guard@example.com").send_to("ada@example.com", NOTICE)


def test_a_custom_notification_as_amazon_q_takes_it():
    found = notification()
    identity = found.pop("id")
    assert len(identity) == 32
    assert found == {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": ":rotating_light: Bedrock spend: STOPPED",
            "description": "Bedrock is stopped.",
            "nextSteps": ["Let it go on: https://release"],
            "keywords": ["stop", "urgent"],
        },
        "metadata": {
            "threadId": "bedrock-spend-123456789012-eu-central-1-incident-2026-11-22",
            "summary": "Bedrock is stopped.",
            "eventType": "stop",
            "additionalContext": {"account": "123456789012", "region": "eu-central-1"},
        },
    }


def test_a_stop_its_reminders_and_its_release_are_one_thread_and_a_warning_is_another():
    threads = {
        kind: notification(Notice("s", "t", kind))["metadata"]["threadId"]
        for kind in ("stop", "still-burning", "standing", "release", "warning", "digest")
    }
    assert len({threads[each] for each in ("stop", "still-burning", "standing", "release")}) == 1
    assert len(set(threads.values())) == 3


def test_the_same_notice_of_a_day_is_the_same_event():
    assert notification()["id"] == notification()["id"]
    assert notification()["id"] != notification(Notice("s", "t", "stop"))["id"]


def test_a_reason_calls_nobody_and_links_nowhere_else():
    hostile = "killed: <!channel> <https://evil|click> [here](https://evil) @everyone"
    text = json.dumps(notification(Notice("Bedrock spend: <!here>", hostile, "stop")), ensure_ascii=False)
    for each in ("<!", "<http", "](", "@everyone"):
        assert each not in text


texts = st.text(max_size=9000)


@given(texts, texts, st.sampled_from(["", "stop", "warning"]), st.booleans())
def test_whatever_it_says_it_stays_within_what_amazon_q_takes(subject: str, text: str, kind: str, urgent: bool):
    """Of a message that does not fit nothing is shown, and nobody is told."""
    links = Links("https://r", "https://s", "https://k", "aws iam " + "x" * 400)
    found = notification(compose(f"Bedrock spend: {subject}", text.splitlines(), links, kind, urgent=urgent))
    content, metadata = found["content"], found["metadata"]
    assert 1 <= len(content["title"]) <= 250
    assert 1 <= len(content["description"]) <= 8000
    assert len(content.get("nextSteps", [])) <= 10
    assert all(1 <= len(each) <= 350 for each in content.get("nextSteps", []))
    assert all(1 <= len(each) <= 75 for each in content["keywords"])
    assert 1 <= len(metadata["summary"]) <= 250
    assert len(json.dumps(found).encode()) < 256 * 1024


@given(texts)
def test_a_subject_is_what_sns_takes(text: str):
    subject = subject_line(text)
    assert len(subject) <= 100
    assert subject.isascii()
    assert subject == "" or subject.isprintable()
