"""AWS Budgets, the second opinion: budgets that see Marketplace billing, the topic they speak through, a last line."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from lambdas.core.brake_documents import budget_stop_document
from lambdas.core.limits import Ladder
from lambdas.installing import document_settings
from lambdas.settings import Settings
from stacks.acknowledged import NO_KEY_OF_SNS, acknowledge_wildcards, skip

_SERVICES = ["Amazon Bedrock", "Amazon Bedrock AgentCore"]
_MAILED = 10
"""AWS Budgets mails so many addresses."""
_Expression = budgets.CfnBudget.ExpressionProperty
_Values = budgets.CfnBudget.ExpressionDimensionValuesProperty
_Told = budgets.CfnBudget.NotificationWithSubscribersProperty


class BedrockBudget(Construct):
    """Cost budgets for Bedrock, without credits and refunds: they would hide what is being spent."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        monthly_usd: Decimal,
        daily_usd: Decimal | None,
        ladder: Ladder,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the budget of the month, that of the day where there is one, and their topic."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.topic = sns.Topic(self, "Topic", display_name="AWS Budgets to the spend guardrail", master_key=key)
        if key is None:
            skip(self.topic, CKV_AWS_26=NO_KEY_OF_SNS)
        policy = sns.TopicPolicy(
            self,
            "TopicPolicy",
            topics=[self.topic],
            enforce_ssl=True,
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
        at = [("ACTUAL", percent) for percent in ladder.rungs]
        # AWS forecasts a month, not a day.
        self.monthly = self._budget("Budget", "MONTHLY", monthly_usd, [*at, ("FORECASTED", Decimal(100))])
        self.daily = None if daily_usd is None else self._budget("Daily", "DAILY", daily_usd, at)
        for each in self._budgets:
            # AWS checks that it may publish when the budget is made.
            each.node.add_dependency(policy)
        self.name = self.monthly.ref

    @property
    def _budgets(self) -> list[budgets.CfnBudget]:
        return [each for each in (self.monthly, self.daily) if each is not None]

    @property
    def arns(self) -> tuple[str, ...]:
        """The budgets there are."""
        stack = Stack.of(self)
        return tuple(f"arn:{stack.partition}:budgets::{stack.account}:budget/{each.ref}" for each in self._budgets)

    @property
    def environment(self) -> dict[str, str]:
        """What the functions need to know."""
        return {"BUDGET_NAME": self.name} | ({"DAILY_BUDGET_NAME": self.daily.ref} if self.daily is not None else {})

    def _budget(
        self, construct_id: str, time_unit: str, usd: Decimal, at: Sequence[tuple[str, Decimal]]
    ) -> budgets.CfnBudget:
        return budgets.CfnBudget(
            self,
            construct_id,
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit=time_unit,
                budget_limit=budgets.CfnBudget.SpendProperty(amount=float(usd), unit="USD"),
                metrics=["UnblendedCost"],
                filter_expression=_spend_on_bedrock(),
            ),
            notifications_with_subscribers=[self._told(kind, percent) for kind, percent in at],
        )

    def _told(self, kind: str, percent: Decimal) -> _Told:
        return _Told(
            notification=budgets.CfnBudget.NotificationProperty(
                notification_type=kind,
                comparison_operator="GREATER_THAN",
                threshold=float(percent),
                threshold_type="PERCENTAGE",
            ),
            subscribers=[budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=self.topic.topic_arn)],
        )


class NativeStop(Construct):
    """The last line, should every Lambda be down: at 100 % of the month AWS Budgets attaches a deny by itself.

    It is as late as the budget, knows only those named, and fires once until it is reset, which a release does.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        principals: Sequence[str],
        budget: BedrockBudget,
        emails: Sequence[str],
    ) -> None:
        """Make the policy, the role that may attach it to these principals alone, and the action."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        name = f"{settings.prefix}-budget-stop"
        # By its name: the writer of the other policies knows nothing of this one, which never changes while it is on.
        policy = iam.CfnManagedPolicy(
            self,
            "Policy",
            managed_policy_name=name,
            path=settings.own_path,
            description="Spend guardrail: AWS Budgets attaches this at 100 % of the month. A release takes it off.",
            policy_document=budget_stop_document(document_settings(settings)),
        )
        role = iam.Role(
            self,
            "Role",
            path=settings.own_path,
            assumed_by=iam.ServicePrincipal("budgets.amazonaws.com", conditions=_of_our_budgets(stack)),
            description="Spend guardrail: lets AWS Budgets attach one deny policy to the principals it is to stop.",
        )
        named = {
            kind: [each.partition("/")[2] for each in principals if each.startswith(f"{kind}/")]
            for kind in ("role", "user", "group")
        }
        statements = [
            iam.PolicyStatement(
                sid=f"{kind.title()}s",
                actions=[f"iam:{verb}{kind.title()}Policy" for verb in ("Attach", "Detach")],
                # The second is the same principal, which has a path: there is one of a name in an account.
                resources=[
                    f"arn:{stack.partition}:iam::{stack.account}:{kind}/{path}{each}"
                    for each in names
                    for path in ("", "*/")
                ],
                conditions={"ArnEquals": {"iam:PolicyARN": policy.ref}},
            )
            for kind, names in named.items()
            if names
        ]
        rights = iam.Policy(self, "RolePolicy", statements=statements, roles=[role])
        why = (
            "the configuration names each, as AWS Budgets does, without the path it may have; of a name there is one "
            "in an account. A condition on iam:PolicyARN leaves the one deny."
        )
        acknowledge_wildcards(rights, statements, {each.sid: why for each in statements if each.sid})
        to = budgets.CfnBudgetsAction.SubscriberProperty
        self.action = budgets.CfnBudgetsAction(
            self,
            "Action",
            action_threshold=budgets.CfnBudgetsAction.ActionThresholdProperty(type="PERCENTAGE", value=100),
            action_type="APPLY_IAM_POLICY",
            approval_model="AUTOMATIC",
            budget_name=budget.name,
            definition=budgets.CfnBudgetsAction.DefinitionProperty(
                iam_action_definition=budgets.CfnBudgetsAction.IamActionDefinitionProperty(
                    policy_arn=policy.ref, **{f"{kind}s": names for kind, names in named.items() if names}
                )
            ),
            execution_role_arn=role.role_arn,
            notification_type="ACTUAL",
            # By the topic the stop function hears of it; with every Lambda down AWS itself must mail.
            subscribers=[
                to(type="SNS", address=budget.topic.topic_arn),
                *(to(type="EMAIL", address=each) for each in emails[:_MAILED]),
            ],
        )
        self.action.node.add_dependency(rights)
        self.arn = f"{budget.arns[0]}/action/{self.action.attr_action_id}"

    @property
    def environment(self) -> dict[str, str]:
        """What the functions need to know."""
        return {"BUDGET_ACTION_ID": self.action.attr_action_id}


def _of_our_budgets(stack: Stack) -> Mapping[str, Any]:
    return {
        "StringEquals": {"aws:SourceAccount": stack.account},
        "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:budgets::{stack.account}:budget/*"},
    }


def _spend_on_bedrock() -> _Expression:
    # Claude, GPT and others bill through AWS Marketplace under service names that change with every model, so all
    # of Marketplace is in: too much rather than too little.
    bedrock = _Expression(dimensions=_Values(key="SERVICE", values=_SERVICES))
    marketplace = _Expression(dimensions=_Values(key="BILLING_ENTITY", values=["AWS Marketplace"]))
    masks = _Expression(dimensions=_Values(key="RECORD_TYPE", values=["Credit", "Refund"]))
    return _Expression(and_=[_Expression(or_=[bedrock, marketplace]), _Expression(not_=masks)])
