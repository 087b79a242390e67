"""AWS Budgets, the second opinion: a budget that sees Marketplace billing, and the topic it speaks through."""

from decimal import Decimal

from aws_cdk import Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from lambdas.core.limits import Ladder

_SERVICES = ["Amazon Bedrock", "Amazon Bedrock AgentCore"]
_Expression = budgets.CfnBudget.ExpressionProperty
_Values = budgets.CfnBudget.ExpressionDimensionValuesProperty


class BedrockBudget(Construct):
    """A monthly cost budget for Bedrock, without credits and refunds: they would hide what is being spent."""

    def __init__(self, scope: Construct, construct_id: str, *, monthly_usd: Decimal, ladder: Ladder) -> None:
        """Make the budget and its topic."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.topic = sns.Topic(self, "Topic", display_name="AWS Budgets to the spend guardrail")
        policy = sns.TopicPolicy(
            self,
            "TopicPolicy",
            topics=[self.topic],
            policy_document=iam.PolicyDocument(
                statements=[
                    iam.PolicyStatement(
                        sid="BudgetsOfThisAccountOnly",
                        principals=[iam.ServicePrincipal("budgets.amazonaws.com")],
                        actions=["sns:Publish"],
                        resources=[self.topic.topic_arn],
                        conditions={
                            "StringEquals": {"aws:SourceAccount": stack.account},
                            "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:budgets::{stack.account}:*"},
                        },
                    )
                ]
            ),
        )
        rungs = [each for each in (ladder.warn, ladder.step_down, Decimal(100)) if each is not None]
        self.budget = budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=float(monthly_usd), unit="USD"),
                metrics=["UnblendedCost"],
                filter_expression=_spend_on_bedrock(),
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type="ACTUAL",
                        comparison_operator="GREATER_THAN",
                        threshold=float(percent),
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[
                        budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=self.topic.topic_arn)
                    ],
                )
                for percent in rungs
            ],
        )
        # AWS checks that it may publish when the budget is made.
        self.budget.node.add_dependency(policy)
        self.name = self.budget.ref
        self.arn = f"arn:{stack.partition}:budgets::{stack.account}:budget/{self.name}"


def _spend_on_bedrock() -> _Expression:
    # Claude, GPT and others bill through AWS Marketplace under service names that change with every model, so all
    # of Marketplace is in: too much rather than too little.
    bedrock = _Expression(dimensions=_Values(key="SERVICE", values=_SERVICES))
    marketplace = _Expression(dimensions=_Values(key="BILLING_ENTITY", values=["AWS Marketplace"]))
    masks = _Expression(dimensions=_Values(key="RECORD_TYPE", values=["Credit", "Refund"]))
    return _Expression(and_=[_Expression(or_=[bedrock, marketplace]), _Expression(not_=masks)])
