"""guardrail.toml: read, checked, and turned into values; every mistake fails at synthesis, in one line."""

import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from botocore.loaders import create_loader
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from lambdas.core import iam_events
from lambdas.core.arming import ArmingRule, ArmMode
from lambdas.core.assumptions import Assumptions
from lambdas.core.errors import GuardrailError
from lambdas.core.limits import Ladder, Limit
from lambdas.core.prices import Override, Pricing
from lambdas.core.principals import Spared
from lambdas.core.scp import ScpError, stop_scp
from lambdas.core.telling import Telling
from lambdas.core.windows import Window
from lambdas.core.work import IRREVERSIBLE, UNSTOPPABLE, Choice, Kind
from lambdas.settings import LiveDrill, Organization, Settings


class ConfigurationError(GuardrailError):
    """A mistake in the configuration file; the message names file, key, value and rule."""


@cache
def _bedrock_regions() -> frozenset[str]:
    # botocore's endpoint data: no network, no profile of the user's, and as new as the pinned SDK.
    # The commercial partition alone: elsewhere there is no AWS Budgets to deploy the second opinion into.
    partition = create_loader().load_data("endpoints")["partitions"][0]
    return frozenset(partition["services"]["bedrock"]["endpoints"].keys() & partition["regions"].keys())


def _known_region(region: str) -> str:
    if region not in _bedrock_regions():
        raise ValueError
    return region


def _distinct(items: Sequence[str]) -> Sequence[str]:
    if twice := sorted({each for each in items if items.count(each) > 1}):
        msg = f"must not name anything twice ({', '.join(twice)})"
        raise ValueError(msg)
    return items


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be: checked when the file is read, and said in the reference."""

    rule: str
    """In words, beginning with "must be"."""
    holds: Callable[[Any], Any]
    """Returns the value, or raises ValueError when it is not so."""

    def __call__(self, value: object) -> object:
        """Return the value. Raises ValueError with the rule."""
        try:
            return self.holds(value)
        except ValueError:
            raise ValueError(self.rule) from None


def _between(least: str, most: str, rule: str) -> Rule:
    def number(value: object) -> Decimal:
        # Strict, but for whole numbers and for TOML floats, which are read as Decimal.
        number = Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else Decimal("NaN")
        if not number.is_finite() or not Decimal(least) <= number <= Decimal(most):
            raise ValueError
        return number

    return Rule(rule, number)


def _like(pattern: str, rule: str) -> Rule:
    def text(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError
        return value

    return Rule(rule, text)


def _one_of(words: Iterable[str]) -> Rule:
    known = tuple(words)
    return _like("|".join(map(re.escape, known)), f"must be one of {', '.join(known)}")


Usd = Annotated[Decimal, BeforeValidator(_between("0.01", "1e9", "must be a number of USD from 0.01 to 1,000,000,000"))]
HourlyUsd = Annotated[Decimal, BeforeValidator(_between("0", "100000", "must be a number of USD from 0 to 100,000"))]
PriceUsd = HourlyUsd
Factor = Annotated[Decimal, BeforeValidator(_between("0.1", "10", "must be a number from 0.1 to 10"))]
ModelGlob = Annotated[
    str,
    AfterValidator(
        _like(
            # Some letter or digit: "*" would price every model alike.
            r"(?=.*[A-Za-z0-9])[A-Za-z0-9.:/*?-]{1,128}",
            "must be a model id of at most 128 characters; * and ? are allowed, but not alone",
        )
    ),
]
Percent = Annotated[Decimal, BeforeValidator(_between("0.01", "99.99", "must be a percentage above 0 and below 100"))]
Region = Annotated[str, AfterValidator(Rule("must be a commercial AWS region that has Bedrock", _known_region))]
Email = Annotated[str, AfterValidator(_like(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+", "must be an e-mail address"))]
Exempt = Annotated[
    str,
    AfterValidator(
        _like(
            # Some letter or digit: "role/*" would exempt everybody.
            r"(role|user)(?=/.*[A-Za-z0-9])(/[A-Za-z0-9_+=,.@*?-]+)+",
            'must be "role/NAME" or "user/NAME", the path included; * and ? are allowed, but not alone',
        )
    ),
]
ExemptTag = Annotated[
    str,
    AfterValidator(
        _like(
            # No "=" in a key, for it ends there; no blank in it, for it becomes part of the name of a condition key.
            r"[A-Za-z0-9_.:/+@-]{1,128}=[A-Za-z0-9_.:/=+@-]([A-Za-z0-9 _.:/=+@-]{0,254}[A-Za-z0-9_.:/=+@-])?",
            'must be "KEY=VALUE", one tag of roles and users in full: letters, digits and _.:/+@- in the key, '
            "blanks and = in the value too",
        )
    ),
]
HeldWindow = Annotated[
    str,
    AfterValidator(
        _like("hour|day|month", 'must be "hour", "day" or "month"; what the minute stopped always waits for a person')
    ),
]
DetachedPolicy = Annotated[
    str,
    AfterValidator(
        _like(
            # The function that releases may attach them to anybody, so AWS's own wide ones are out of the question.
            r"arn:aws:iam::aws:policy/([A-Za-z0-9_+=,.@-]+/)*(?=[^/]*Bedrock)[A-Za-z0-9_+=,.@-]{1,128}"
            r"|policy/([A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]{1,128}",
            'must be "policy/NAME" of this account, the path included, or "arn:aws:iam::aws:policy/NAME" of AWS, which '
            "must have Bedrock in its name; no *",
        )
    ),
]
AccountId = Annotated[str, AfterValidator(_like(r"\d{12}", "must be an account id: twelve digits, as text"))]
ScpTarget = Annotated[
    str,
    AfterValidator(
        _like(
            r"account|ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}",
            'must be "account" or an organizational unit (ou-xxxx-yyyyyyyy); a root would stop every account',
        )
    ),
]
Irreversible = Annotated[str, AfterValidator(_one_of(each.key for each in IRREVERSIBLE))]
Sparable = Annotated[str, AfterValidator(_one_of(each.key for each in Kind if each not in UNSTOPPABLE))]
NativelyStopped = Annotated[
    str,
    AfterValidator(
        _like(
            # Budgets takes names, not ARNs, and no path.
            r"(role|user|group)/[A-Za-z0-9_+=,.@-]{1,64}",
            'must be "role/NAME", "user/NAME" or "group/NAME", without path and without *',
        )
    ),
]
Monitor = Annotated[
    str,
    AfterValidator(
        _like(
            r"create|arn:aws:ce::\d{12}:anomalymonitor/[0-9a-f-]{36}",
            'must be "create" or the ARN of a monitor, "arn:aws:ce::ACCOUNT:anomalymonitor/ID"',
        )
    ),
]
TagKey = Annotated[
    str, AfterValidator(_like(r"[A-Za-z0-9_.:/+@-]{1,128}", "must be the key of a tag: letters, digits and _.:/+@-"))
]
CountedModel = Annotated[
    str,
    AfterValidator(_like(r"[a-z0-9-]+\.[A-Za-z0-9.:-]{1,120}", "must be the id of a model that supports CountTokens")),
]
Prefix = Annotated[
    str,
    AfterValidator(
        _like(
            # CloudFormation cuts the stack's name in the names it makes up, of rules and functions for one, to 25
            # characters; by the prefix and its dash the guardrail knows them for its own.
            r"[a-z][a-z0-9-]{1,22}[a-z0-9]",
            "must be 3 to 24 lower-case letters, digits and dashes, a letter first and no dash last",
        )
    ),
]


class Table(BaseModel):
    """A table of the file: its keys are described below each, which is what the reference shows."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class _Limits(Table):
    """USD per window, in UTC. At least one is needed; what is left out has no limit."""

    minute: Usd | None = None
    """The burn rate: USD in one minute. What it stopped always waits for a person."""
    hour: Usd | None = None
    """USD since the hour began."""
    day: Usd | None = None
    """USD since midnight UTC."""
    month: Usd | None = None
    """USD since the first of the month."""
    hold: Annotated[list[HeldWindow], AfterValidator(_distinct)] = []
    """Windows whose stop waits for a person instead of ending when the window does."""

    @model_validator(mode="after")
    def _some_and_in_order(self) -> "_Limits":
        given = [(name, usd) for name in ("minute", "hour", "day", "month") if (usd := getattr(self, name)) is not None]
        if not given:
            msg = "must set at least one of minute, hour, day, month"
            raise ValueError(msg)
        for (shorter, less), (longer, more) in pairwise(given):
            if less > more:
                msg = f"{shorter} must not be above {longer}: it could never be reached"
                raise ValueError(msg)
        if unset := [each for each in self.hold if getattr(self, each) is None]:
            msg = f"hold must name windows that have a limit ({', '.join(unset)})"
            raise ValueError(msg)
        return self


class _Ladder(Table):
    """Percent of a limit. At 100 everything is stopped; a rung that is left out is skipped."""

    warn: Percent | None = None
    """People are mailed."""
    step_down: Percent | None = None
    """Dear models, the priority tier and new standing cost are denied."""

    @model_validator(mode="after")
    def _in_order(self) -> "_Ladder":
        if self.warn is not None and self.step_down is not None and self.warn >= self.step_down:
            msg = "warn must be below step_down"
            raise ValueError(msg)
        return self


class _Reaction(Table):
    """What is spent until a stop holds counts already."""

    seconds: Annotated[int, Field(ge=0, le=3600)] = 240
    """A limit trips when spend + burn x this time would reach it."""


class _Pace(Table):
    """How much may go unread."""

    max_blind_usd: Usd | None = None
    """USD that may be spent between two readings in the worst case. Left out: 5, or 1 % of the smallest limit if that
    is more, but never above a quarter of it.
    """


class _StepDown(Table):
    """What a step-down denies."""

    output_usd_per_million: Usd = Decimal(15)
    """USD per million output tokens: dearer models are denied."""


class _Inventory(Table):
    """Prices, in USD, of what no API of AWS tells one for. The defaults are on the dear side."""

    provisioned_unit_hour: HourlyUsd = Assumptions().provisioned_unit_hour
    """A model unit of provisioned throughput, an hour."""
    imported_unit_minute: HourlyUsd = Assumptions().imported_unit_minute
    """A custom model unit of an imported model, a minute."""
    deployment_hour: HourlyUsd = Assumptions().deployment_hour
    """A custom-model deployment, an hour."""
    endpoint_instance_hour: HourlyUsd = Assumptions().endpoint_instance_hour
    """An instance of a marketplace endpoint, an hour."""
    job_hour: HourlyUsd = Assumptions().job_hour
    """A customization job, an hour."""
    batch_input_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = Assumptions().batch_input_tokens
    """Input tokens of a batch record, where CloudWatch does not count them."""
    batch_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = Assumptions().batch_output_tokens
    """Output tokens of a batch record, likewise."""
    usd_per_hour: dict[str, HourlyUsd] = {}
    """What you know better: USD for an hour of one unit, by name, ARN, model or instance type; `*` is allowed, the
    first that fits counts.
    """


class _Override(Table):
    """Your own price for models by id, in USD per million tokens, and per image; what is left out keeps its price.

    The first that fits counts, and the factor does not touch it.
    """

    model: ModelGlob
    """The model id."""
    input: PriceUsd | None = None
    """Input tokens."""
    output: PriceUsd | None = None
    """Output tokens."""
    cache_read: PriceUsd | None = None
    """Tokens read from the cache."""
    cache_write: PriceUsd | None = None
    """Tokens written to the cache."""
    image: PriceUsd | None = None
    """An image."""

    @model_validator(mode="after")
    def _says_something(self) -> "_Override":
        if not Override(**self.model_dump()).amounts:
            msg = "must set at least one of input, output, cache_read, cache_write, image"
            raise ValueError(msg)
        return self


class _Prices(Table):
    """What you know of your own prices."""

    factor: Factor = Decimal(1)
    """Every price is multiplied by it: 0.93 for a negotiated 7 % off."""
    priority_tier: bool = True
    """Reckon with the dearer priority tier where CloudWatch does not tell the tier."""
    long_context: bool = True
    """Reckon with the dearer long context."""
    # All settings travel in one variable of a function's environment, and AWS allows 4 KB for all of them.
    override: Annotated[list[_Override], Field(max_length=10)] = []
    """Your own prices, a table each."""


class _Budget(Table):
    """AWS Budgets, the second opinion: 8 to 24 hours late.

    It counts all that the account buys through AWS Marketplace, where Claude and GPT bill.
    """

    monthly_usd: Usd
    """The amount. Its stop is at 100 %, its lower rungs are those of the ladder."""
    daily_usd: Usd | None = None
    """The amount of a second budget, by the day."""
    # AWS takes 100 of a kind; a list that long is no last line but an inventory.
    stop_natively: Annotated[list[NativelyStopped], Field(max_length=20), AfterValidator(_distinct)] = []
    """Whom AWS Budgets itself denies Bedrock at 100 % of the month, should every Lambda be down. The release takes it
    off.
    """

    @model_validator(mode="after")
    def _in_order(self) -> "_Budget":
        if self.daily_usd is not None and self.daily_usd > self.monthly_usd:
            msg = "daily_usd must not be above monthly_usd: it could never be reached"
            raise ValueError(msg)
        return self


class _Anomalies(Table):
    """Cost Anomaly Detection, a third opinion. Leave the table out to have none of it."""

    monitor: Monitor
    """AWS allows one monitor of services in an account, and has made one in most."""
    impact_usd: Usd = Decimal(100)
    """The least impact that counts."""
    act: Literal["warn", "step-down"] = "warn"
    """What an anomaly in Bedrock does."""


class _Alarms(Table):
    """Alarms beyond those that are always there."""

    silent_meter: Literal["tell", "stop"] = "tell"
    """What happens when the meter has not run for five minutes: people are mailed, or the account is stopped besides.
    """
    tokens: bool = False
    """Alarms on tokens per minute, in all and by model: $0.20 a month for each kind of token of each model in use, in
    each region.
    """
    log_delivery: bool = False
    """An alarm in each region on failures to deliver Bedrock's invocation log: $0.20 a month a region."""


class _Notices(Table):
    """How people are told, beside the mails to `emails`."""

    chat: bool = False
    """A topic of its own with custom notifications for Amazon Q Developer in Slack and Teams."""
    again_minutes: Annotated[int, Field(ge=15, le=1440)] = 60
    """What goes on and calls for somebody is told again after so long."""
    escalate: Annotated[list[Email], AfterValidator(_distinct)] = []
    """Who is mailed besides when nobody has acted."""
    escalate_minutes: Annotated[int, Field(ge=15, le=1440)] = 60
    """After so long."""
    digest: bool = True
    """A mail a day with what was spent."""
    spike_percent: Annotated[int, Field(ge=110, le=10_000)] | None = 300
    """A mail when an hour costs more than this percentage of what the same hour of the week usually does."""
    owner_tag: TagKey | None = None
    """The tag of a role or user that holds the mail address of its owner, who is told when it is stopped alone. Needs
    `sender`.
    """
    sender: Email | None = None
    """The address the owner is mailed from; it must be verified in Amazon SES."""

    @model_validator(mode="after")
    def _owner_and_sender(self) -> "_Notices":
        if (self.owner_tag is None) != (self.sender is None):
            msg = "owner_tag and sender must be set together: the owner is mailed by Amazon SES, from the sender"
            raise ValueError(msg)
        return self


class _LiveDrill(Table):
    """The drill in the account: a canary role is stopped alone and released, and timed.

    Leave the table out to have no canary.
    """

    model: CountedModel
    """A model that supports CountTokens, which is free."""
    monthly: bool = False
    """Once a month by itself, and not only on demand."""


class _ExemptTable(Table):
    """Never touched, and spared by the deny itself. Whoever is named here can spend without any limit."""

    principals: Annotated[list[Exempt], AfterValidator(_distinct)] = []
    """Roles and users."""
    tag: ExemptTag | None = None
    """Whoever carries this tag. Whoever may tag roles or users, or pass tags to a session, can then exempt themselves.
    """


class _Arming(Table):
    """Who gets the policy that a stop switches, before anything happens."""

    mode: Literal["named", "all", "listed"] = "named"
    """`named`: whose policies name Bedrock; `all`: administrators too; `listed`: those named here."""
    # All settings travel in one variable of a function's environment.
    listed: Annotated[list[Exempt], Field(max_length=20), AfterValidator(_distinct)] = []
    """Heeded in mode `listed` alone."""

    @model_validator(mode="after")
    def _heeded(self) -> "_Arming":
        if self.listed and self.mode != "listed":
            msg = 'listed is heeded with mode = "listed" alone; in the others, tag whom you want armed too'
            raise ValueError(msg)
        return self


class _Detach(Table):
    """Detach mode."""

    # What grants them has to fit into a role's policy, and they travel in a function's environment.
    policies: Annotated[list[DetachedPolicy], Field(max_length=10), AfterValidator(_distinct)] = []
    """Policies that a stop takes from whoever holds them, and a release puts back."""


class _Organization(Table):
    """Organization mode: at a stop a service control policy is attached."""

    management_account: AccountId
    """The management account, or that of a delegated administrator."""
    account: AccountId
    """The account that is guarded."""
    target: ScpTarget = "account"
    """What the policy is attached to."""
    on_management: bool = False
    """Say that you know no SCP binds the management account, where that is the guarded one."""

    @model_validator(mode="after")
    def _not_on_the_management_account(self) -> "_Organization":
        if self.account == self.management_account and not self.on_management:
            msg = "account is the management account, which no SCP binds: set on_management = true if you mean it"
            raise ValueError(msg)
        return self


class _Throttle(Table):
    """What is slowed down, beside the functions tagged `bedrock-spend-throttle`."""

    gateways: bool = False
    """Lower the rate limits of AgentCore gateways; their other tools are throttled too."""
    gateway_percent: Annotated[int, Field(ge=1, le=99)] = 25
    """What a step-down leaves of them; a stop leaves nothing."""


class _Work(Table):
    """What a stop does with work in flight and with capacity that costs by the hour."""

    irreversible: Annotated[list[Irreversible], AfterValidator(_distinct)] = []
    """Kinds of capacity that a stop deletes. None of it comes back."""
    spare: Annotated[list[Sparable], AfterValidator(_distinct)] = []
    """Kinds of work that a stop leaves alone."""

    @model_validator(mode="after")
    def _not_both(self) -> "_Work":
        if both := [each for each in self.irreversible if each in self.spare]:
            msg = f"spare must not name what irreversible names ({', '.join(both)})"
            raise ValueError(msg)
        return self


class _Options(Table):
    """Whatever else."""

    external_anthropic: bool = False
    """Also deny Claude Platform on AWS (`aws-external-anthropic`), a bill line of its own."""
    keep_ledger: bool = False
    """Keep the ledger table when the stack is destroyed."""
    inline_deny: bool = False
    """A function of its own writes an inline deny on roles without a free policy slot. The right to write inline
    policies is the right to grant anything.
    """
    dashboard: bool = True
    """One screen in CloudWatch. The first three dashboards of an account are free, others $3 a month."""
    encrypt: bool = False
    """Encrypt topics, queue and ledger with a key of their own ($1 a month)."""


class File(Table):
    """At the top of the file."""

    mode: Literal["enforce", "report-only"]
    """`enforce` stops; `report-only` decides and mails the same but touches nothing, until a person uses the kill
    function.
    """
    prefix: Prefix = "bedrock-spend"
    """Begins the names a person looks for. It cannot be changed while the guardrail is deployed."""
    regions: Annotated[list[Region], AfterValidator(_distinct)] = []
    """Regions that get tripwires ($0.20 a month each). A stop holds in all."""
    emails: Annotated[list[Email], AfterValidator(_distinct)] = []
    """Who is mailed. Each must confirm the subscription."""
    limits: _Limits
    ladder: _Ladder = _Ladder()
    reaction: _Reaction = _Reaction()
    pace: _Pace = _Pace()
    step_down: _StepDown = _StepDown()
    inventory: _Inventory = _Inventory()
    prices: _Prices = _Prices()
    budget: _Budget
    anomalies: _Anomalies | None = None
    alarms: _Alarms = _Alarms()
    notices: _Notices = _Notices()
    live_drill: _LiveDrill | None = None
    exempt: _ExemptTable = _ExemptTable()
    throttle: _Throttle = _Throttle()
    work: _Work = _Work()
    options: _Options = _Options()
    detach: _Detach = _Detach()
    arming: _Arming = _Arming()
    organization: _Organization | None = None

    @field_validator("detach")
    @classmethod
    def _never_our_own(cls, detach: _Detach, info: ValidationInfo) -> _Detach:
        own = {f"policy/{info.data.get('prefix')}-{each}" for each in ("brake", "sweep", "deny")}
        if ours := sorted(own & set(detach.policies)):
            msg = f"policies must not name the guardrail's own ({', '.join(ours)})"
            raise ValueError(msg)
        return detach

    @field_validator("budget")
    @classmethod
    def _budgets_touches_nothing_in_report_only(cls, budget: _Budget, info: ValidationInfo) -> _Budget:
        if budget.stop_natively and info.data.get("mode") == "report-only":
            msg = 'stop_natively must be empty with mode = "report-only": AWS Budgets acts by itself, in any mode'
            raise ValueError(msg)
        return budget

    @field_validator("organization")
    @classmethod
    def _fits_into_an_scp(cls, organization: _Organization, info: ValidationInfo) -> _Organization:
        exempt, options = info.data.get("exempt"), info.data.get("options")
        if exempt is not None and options is not None:
            spared = Spared(tuple(exempt.principals), exempt.tag or "")
            try:
                stop_scp(spared, external_anthropic=options.external_anthropic)
            except ScpError as error:
                raise ValueError(str(error)) from error
        return organization

    @field_validator("pace")
    @classmethod
    def _within_the_limits(cls, pace: _Pace, info: ValidationInfo) -> _Pace:
        limits: _Limits | None = info.data.get("limits")  # None when they are a mistake themselves
        if limits is not None and pace.max_blind_usd is not None and pace.max_blind_usd > (least := _least(limits)):
            msg = f"max_blind_usd must not be above {least}, the smallest limit"
            raise ValueError(msg)
        return pace


@dataclass(frozen=True, slots=True)
class Anomalies:
    """Cost Anomaly Detection: which monitor is subscribed to, and from which impact on."""

    monitor: str
    """``create``, or the ARN of one that is there."""
    impact_usd: Decimal


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the user configured."""

    settings: Settings
    home: str | None
    """The region the stack is deployed to; None when it is not known yet."""
    emails: tuple[str, ...]
    budget_usd: Decimal
    keep_ledger: bool
    escalate: tuple[str, ...] = ()
    """Who is mailed besides when nobody acts."""
    daily_budget_usd: Decimal | None = None
    natively_stopped: tuple[str, ...] = ()
    """Whom AWS Budgets itself denies Bedrock at 100 %, as ``role/name``, ``user/name``, ``group/name``."""
    anomalies: Anomalies | None = None
    """None when Cost Anomaly Detection is left alone."""
    token_alarms: bool = False
    log_alarms: bool = False
    """Whether failures to deliver the invocation log are alarmed."""
    dashboard: bool = True
    encrypt: bool = False
    """Whether topics, queue and ledger are encrypted with a key of their own."""

    @property
    def satellites(self) -> tuple[str, ...]:
        """The other regions that get a stack: those that are watched, and that of IAM's events."""
        # Where home is not known, nobody can say which are others.
        return () if self.home is None else tuple(sorted({*self.settings.watched, iam_events.REGION} - {self.home}))


def load(file: Path, *, home: str | None = None) -> Configuration:
    """Read a configuration file. Raises ConfigurationError naming file, key, value and rule, a line a mistake.

    Without a home region nobody can be told of a tripwire, so there are none.
    """
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        hint = "give its path with `make deploy CDK_ARGS='-c guardrail=PATH'`"
        msg = f"{file}: cannot be read ({error.strerror}); {hint}"
        raise ConfigurationError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file}: is not TOML: {error}"
        raise ConfigurationError(msg) from error
    try:
        parsed = File.model_validate(data)
    except ValidationError as error:
        lines = "\n".join(_line(file, each) for each in error.errors())
        raise ConfigurationError(lines) from None
    return _configuration(parsed, home)


def _line(file: Path, error: ErrorDetails) -> str:
    key = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, error["loc"])))
    rule = "must be a table" if error["type"] == "model_type" else error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{file}: {key}: is missing and has no default"
    if error["type"] == "extra_forbidden":
        return f"{file}: {key} = {_shown(error['input'])}: is no key of this file"
    return f"{file}: {key} = {_shown(error['input'])}: {rule}"


def _shown(value: object) -> str:
    match value:
        case Decimal():
            return str(value)
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case dict():
            return "{" + ", ".join(f"{key} = {_shown(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case _:
            return str(value)


def _least(limits: _Limits) -> Decimal:
    """Return the smallest limit of those that add up; the minute's, a rate, only where there is no other."""
    return next(usd for usd in (limits.hour, limits.day, limits.month, limits.minute) if usd is not None)


def _max_blind_usd(limits: _Limits) -> Decimal:
    """Return the default: $5 or 1 % of the smallest limit, whichever is more, but never above a quarter of it."""
    least = _least(limits)
    if limits.hour is limits.day is limits.month is None:
        # A rate is no sum: all that it says is that no more than a minute of it should go unseen.
        return min(Decimal(5), least)
    return min(max(Decimal(5), least / 100), least / 4)


def _organization(file: File) -> Organization | None:
    if (given := file.organization) is None:
        return None
    target = given.account if given.target == "account" else given.target
    return Organization(file.prefix, given.management_account, given.account, target)


def _configuration(file: File, home: str | None) -> Configuration:
    ladder = Ladder(file.ladder.warn, file.ladder.step_down)
    limits = tuple(
        Limit(window, usd, ladder, hold=window in file.limits.hold)
        for window in Window
        if (usd := getattr(file.limits, window.value)) is not None
    )
    regions = tuple(sorted(file.regions))  # in whatever order they are listed, the stack is the same
    return Configuration(
        settings=Settings(
            prefix=file.prefix,
            enforce=file.mode == "enforce",
            regions=regions,
            watched=regions if home else (),
            limits=limits,
            budget=ladder,
            reaction=timedelta(seconds=file.reaction.seconds),
            max_blind_usd=file.pace.max_blind_usd or _max_blind_usd(file.limits),
            exempt=tuple(file.exempt.principals),
            step_down_output_usd=file.step_down.output_usd_per_million,
            exempt_tag=file.exempt.tag or "",
            gateway_percent=file.throttle.gateway_percent if file.throttle.gateways else None,
            detach=tuple(file.detach.policies),
            organization=_organization(file),
            arming=ArmingRule(ArmMode(file.arming.mode), tuple(file.arming.listed)),
            external_anthropic=file.options.external_anthropic,
            inline_deny=file.options.inline_deny,
            telling=Telling(
                chat=file.notices.chat,
                again=timedelta(minutes=file.notices.again_minutes),
                escalate_after=timedelta(minutes=file.notices.escalate_minutes) if file.notices.escalate else None,
                digest=file.notices.digest,
                spike_percent=file.notices.spike_percent,
                owner_tag=file.notices.owner_tag or "",
                sender=file.notices.sender or "",
            ),
            stop_when_silent=file.alarms.silent_meter == "stop",
            anomalies_step_down=file.anomalies is not None and file.anomalies.act == "step-down",
            drill=None if file.live_drill is None else LiveDrill(file.live_drill.model, file.live_drill.monthly),
            work=Choice(tuple(file.work.irreversible), tuple(file.work.spare)),
            assumptions=Assumptions(**file.inventory.model_dump()),
            pricing=Pricing(
                factor=file.prices.factor,
                priority_tier=file.prices.priority_tier,
                long_context=file.prices.long_context,
                overrides=tuple(Override(**each.model_dump()) for each in file.prices.override),
            ),
        ),
        home=home,
        emails=tuple(file.emails),
        budget_usd=file.budget.monthly_usd,
        keep_ledger=file.options.keep_ledger,
        escalate=tuple(file.notices.escalate),
        daily_budget_usd=file.budget.daily_usd,
        natively_stopped=tuple(file.budget.stop_natively),
        anomalies=None if file.anomalies is None else Anomalies(file.anomalies.monitor, file.anomalies.impact_usd),
        token_alarms=file.alarms.tokens,
        log_alarms=file.alarms.log_delivery,
        dashboard=file.options.dashboard,
        encrypt=file.options.encrypt,
    )
