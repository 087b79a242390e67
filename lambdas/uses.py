"""The methods that every stop, and every release, calls: the stack grants what these declare."""

from lambdas.aws.account import Account
from lambdas.aws.allow_policies import AllowPolicies
from lambdas.aws.api_keys import ApiKeys
from lambdas.aws.budget_action import BudgetAction
from lambdas.aws.concurrency import Concurrency
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.functions import StopFunction, Writer
from lambdas.aws.gateways import Gateways
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.inline import InlineDenies
from lambdas.aws.organization import ServiceControlPolicy
from lambdas.aws.ses import OwnerMail
from lambdas.aws.simulator import Simulator
from lambdas.aws.sns import NoticeTopic
from lambdas.aws.work import Work

_LEVERS = (ServiceControlPolicy, InlineDenies, ApiKeys, Concurrency, Gateways, AllowPolicies)
_READ = (BrakePolicies.policy, BrakePolicies.levels, BrakePolicies.holders, Account.principals)
_TURN = (LedgerTable.begin, LedgerTable.end, LedgerTable.in_use, LedgerTable.wanted, LedgerTable.want)

STOPPING = (
    *_READ,
    BrakePolicies.reached,
    BrakePolicies.switch,
    BrakePolicies.sweep,
    BrakePolicies.deny,
    BrakePolicies.join,
    Writer.stop,
    *(method for lever in _LEVERS for method in (lever.find, lever.hold)),
    LedgerTable.remember,
    Work.listings,
    Work.stop,
    Simulator.denied,
    *_TURN,
    LedgerTable.stop_alone,
    LedgerTable.release_alone,
    LedgerTable.released_alone,
    LedgerTable.last,
    LedgerTable.record,
    NoticeTopic.send,
    StopFunction.ask,
)

KILLING = (*STOPPING, OwnerMail.send_to)
"""Only a person stops a role or user alone, whose owner is told."""

PLANNING = (
    BrakePolicies.policy,
    BrakePolicies.holders,
    BrakePolicies.reached,
    Account.principals,
    # Whoever may ask the organization may also stop it.
    *(lever.find for lever in _LEVERS if lever is not ServiceControlPolicy),
    Work.listings,
    LedgerTable.in_use,
)
"""What a plan calls of it, which reads and nothing else."""

RELEASING = (
    *_READ,
    BrakePolicies.members,
    BrakePolicies.switch,
    BrakePolicies.leave,
    BrakePolicies.part,
    Writer.release,
    *(lever.restore for lever in _LEVERS),
    BudgetAction.status,
    BudgetAction.execute,
    BudgetAction.holders,
    LedgerTable.held,
    LedgerTable.forget,
    *_TURN,
    LedgerTable.stopped_alone,
    LedgerTable.release_alone,
    LedgerTable.released_alone,
    LedgerTable.add_allowance,
    LedgerTable.end_allowances,
    LedgerTable.memory,
    LedgerTable.latest_decision,
    LedgerTable.forget_verdict,
    LedgerTable.may_tell,
    OwnerMail.send_to,
    LedgerTable.record,
    NoticeTopic.send,
    StopFunction.ask,
)
