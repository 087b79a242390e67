"""How people are told: the topic of the mails, that of chat, and that of those who are told when nobody acts."""

from collections.abc import Sequence

from aws_cdk import Annotations, CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks.acknowledged import NO_KEY_OF_SNS, skip


class Notices(Construct):
    """The topics people subscribe to, and who may publish there: the guardrail's functions and CloudWatch's alarms."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        emails: Sequence[str],
        escalate: Sequence[str],
        chat: bool,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the topics; ``key`` encrypts them with a key of their own."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        if not emails:
            Annotations.of(stack).add_warning_v2(
                "bedrock-spend:nobody-is-told", "guardrail.toml: emails = []: nobody is mailed when Bedrock is stopped"
            )
        # In the stack itself: by another name it would be another topic, every subscription to be confirmed anew.
        self.topic = _topic(stack, "Notices", "Bedrock spend guardrail", emails, key)
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccountOnly",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:cloudwatch:*:{stack.account}:alarm:*"},
                },
            )
        )
        # Of these two nobody but the functions speaks, whose own roles allow it.
        self.chat = _topic(stack, "ChatNotices", "Bedrock spend guardrail to chat", (), key) if chat else None
        self.escalation = (
            _topic(stack, "EscalatedNotices", "Bedrock spend guardrail: nobody acted", escalate, key)
            if escalate
            else None
        )
        if self.chat is not None:
            CfnOutput(stack, "ChatTopicArn", value=self.chat.topic_arn)

    @property
    def arns(self) -> tuple[str, ...]:
        """The topics there are."""
        return tuple(each.topic_arn for each in (self.topic, self.chat, self.escalation) if each is not None)

    @property
    def environment(self) -> dict[str, str]:
        """What the functions need to know."""
        named = {"CHAT_TOPIC_ARN": self.chat, "ESCALATION_TOPIC_ARN": self.escalation}
        more = {name: topic.topic_arn for name, topic in named.items() if topic is not None}
        return {"NOTICE_TOPIC_ARN": self.topic.topic_arn, **more}


def _topic(stack: Stack, name: str, shown: str, emails: Sequence[str], key: kms.IKey | None) -> sns.Topic:
    topic = sns.Topic(stack, name, display_name=shown, master_key=key, enforce_ssl=True)
    if key is None:
        skip(topic, CKV_AWS_26=NO_KEY_OF_SNS)
    for email in emails:
        topic.add_subscription(subscriptions.EmailSubscription(email))
    return topic
