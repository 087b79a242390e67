"""Proof of a stop by a second opinion: whom to ask IAM's policy simulator about, what to ask, and what it answered.

The simulator judges the policies of a principal as IAM has them. It is not enforcement: a policy may read so for
seconds before every Bedrock endpoint obeys it, and a service control policy with conditions is not simulated.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.principals import Capability, Principal

SAMPLE = 12
"""Some two seconds of calls, one a principal: IAM throttles the simulator early."""

_QUESTIONS: Mapping[Level, tuple[str, ...]] = {
    Level.RELEASED: (),
    # What is denied whatever the model: those that are dear have resources of their own.
    Level.STEP_DOWN: (
        "bedrock:CreateProvisionedModelThroughput",
        "bedrock:CreateModelInvocationJob",
        "bedrock-mantle:CreateReservation",
        "bedrock-agentcore:CreateCapacityProvider",
    ),
    # One of each way in: calls on both planes, work by itself, agents.
    Level.STOP: (
        "bedrock:InvokeModel",
        "bedrock:InvokeModelWithResponseStream",
        "bedrock:CreateModelInvocationJob",
        "bedrock-mantle:CreateInference",
        "bedrock-agentcore:InvokeAgentRuntime",
    ),
}

Ask = Callable[[str, Sequence[str]], Mapping[str, bool]]
"""Asks of a principal, by its ARN, which actions are denied to it by name. Raises AwsCallError."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the simulator says of the principals that were asked about. What it did not say is unknown, not denied."""

    asked: int = 0
    denied: int = 0
    still_allowed: Mapping[str, str] = field(default_factory=dict)
    """ARNs to what is not denied."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """ARNs to why it is not known."""

    @property
    def holds(self) -> bool:
        """Tell whether everybody asked about is denied everything asked."""
        return not (self.still_allowed or self.unknown)

    def __str__(self) -> str:
        """Return the words for people."""
        if not self.asked:
            return "IAM's simulator was asked about nobody"
        words = f"IAM's simulator (not enforcement itself) says denied for {self.denied} of {self.asked} asked about"
        words += f", NOT for {len(self.still_allowed)}" if self.still_allowed else ""
        return words + (f", could not be asked about {len(self.unknown)}" if self.unknown else "")


def sample(
    principals: Iterable[Principal], armed: Collection[str], swept: Collection[str], size: int = SAMPLE
) -> list[Principal]:
    """Return whom to ask about: of those who are reached, each kind, class and way of being reached at least once.

    ``armed`` and ``swept`` hold ``role/name`` and ``user/name``. The same account gives the same sample; there are at
    most ``size``, or one of each combination where these are more.
    """
    groups: dict[tuple[str, str, bool], list[Principal]] = {}
    for each in sorted(principals, key=lambda one: one.arn):
        holder = f"{each.kind}/{each.name}"
        if each.capability is not Capability.NONE and (holder in armed or holder in swept):
            groups.setdefault((each.kind, each.capability, holder in armed), []).append(each)
    # A first one of each group, then a second one of each...
    in_turn = [each for row in zip_longest(*(groups[key] for key in sorted(groups))) for each in row if each]
    return in_turn[: max(size, len(groups))]


def questions(level: Level) -> tuple[str, ...]:
    """Return the actions that must be denied to everybody at a level."""
    return _QUESTIONS[level]


def judge(asked: Sequence[str], answers: Mapping[str, bool]) -> tuple[str, ...]:
    """Return, in words, the actions that are not denied. One without an answer is not."""
    return tuple(f"{each} is {_word(answers.get(each))}" for each in asked if not answers.get(each))


def prove(level: Level, principals: Iterable[Principal], ask: Ask) -> Proof:
    """Ask about each principal. A failed call leaves that one unknown and never ends the asking."""
    actions = questions(level)
    chosen = list(principals) if actions else []
    allowed: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for each in chosen:
        try:
            answers = ask(each.arn, actions)
        except AwsCallError as error:
            unknown[each.arn] = str(error)
            continue
        if wrong := judge(actions, answers):
            told = any(answers.get(action) is False for action in actions)
            (allowed if told else unknown)[each.arn] = "; ".join(wrong)
    return Proof(len(chosen), len(chosen) - len(allowed) - len(unknown), allowed, unknown)


def _word(answer: bool | None) -> str:  # noqa: FBT001 - an answer, not a switch
    return "not answered for" if answer is None else "not denied"
