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
from typing import Annotated, Literal

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

from lambdas.core.arming import ArmingRule, ArmMode
from lambdas.core.assumptions import Assumptions
from lambdas.core.errors import GuardrailError
from lambdas.core.limits import Ladder, Limit
from lambdas.core.prices import Override, Pricing
from lambdas.core.principals import Spared
from lambdas.core.scp import ScpError, stop_scp
from lambdas.core.windows import Window
from lambdas.core.work import IRREVERSIBLE, UNSTOPPABLE, Choice, Kind
from lambdas.settings import Organization, Settings


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
        msg = "must be a commercial AWS region that has Bedrock"
        raise ValueError(msg)
    return region


def _distinct(items: Sequence[str]) -> Sequence[str]:
    if twice := sorted({each for each in items if items.count(each) > 1}):
        msg = f"must not name anything twice ({', '.join(twice)})"
        raise ValueError(msg)
    return items


def _between(least: str, most: str, rule: str) -> Callable[[object], Decimal]:
    def check(value: object) -> Decimal:
        # Strict, but for whole numbers and for TOML floats, which are read as Decimal.
        number = Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else Decimal("NaN")
        if not number.is_finite() or not Decimal(least) <= number <= Decimal(most):
            raise ValueError(rule)
        return number

    return check


def _like(pattern: str, rule: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(rule)
        return text

    return check


def _one_of(words: Iterable[str]) -> Callable[[str], str]:
    known = tuple(words)

    def check(text: str) -> str:
        if text not in known:
            msg = f"must be one of {', '.join(known)}"
            raise ValueError(msg)
        return text

    return check


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
Region = Annotated[str, AfterValidator(_known_region)]
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
Prefix = Annotated[
    str,
    AfterValidator(
        _like(
            r"[a-z][a-z0-9-]{1,30}[a-z0-9]",
            "must be 3 to 32 lower-case letters, digits and dashes, a letter first and no dash last",
        )
    ),
]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Limits(_Table):
    minute: Usd | None = None
    hour: Usd | None = None
    day: Usd | None = None
    month: Usd | None = None
    hold: Annotated[list[HeldWindow], AfterValidator(_distinct)] = []

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


class _Ladder(_Table):
    warn: Percent | None = None
    step_down: Percent | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "_Ladder":
        if self.warn is not None and self.step_down is not None and self.warn >= self.step_down:
            msg = "warn must be below step_down"
            raise ValueError(msg)
        return self


class _Reaction(_Table):
    seconds: Annotated[int, Field(ge=0, le=3600)] = 240


class _Pace(_Table):
    max_blind_usd: Usd | None = None


class _StepDown(_Table):
    output_usd_per_million: Usd = Decimal(15)


class _Inventory(_Table):
    provisioned_unit_hour: HourlyUsd = Assumptions().provisioned_unit_hour
    imported_unit_minute: HourlyUsd = Assumptions().imported_unit_minute
    deployment_hour: HourlyUsd = Assumptions().deployment_hour
    endpoint_instance_hour: HourlyUsd = Assumptions().endpoint_instance_hour
    job_hour: HourlyUsd = Assumptions().job_hour
    batch_input_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = Assumptions().batch_input_tokens
    batch_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = Assumptions().batch_output_tokens
    usd_per_hour: dict[str, HourlyUsd] = {}


class _Override(_Table):
    model: ModelGlob
    input: PriceUsd | None = None
    output: PriceUsd | None = None
    cache_read: PriceUsd | None = None
    cache_write: PriceUsd | None = None
    image: PriceUsd | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "_Override":
        if not Override(**self.model_dump()).amounts:
            msg = "must set at least one of input, output, cache_read, cache_write, image"
            raise ValueError(msg)
        return self


class _Prices(_Table):
    factor: Factor = Decimal(1)
    priority_tier: bool = True
    long_context: bool = True
    # All settings travel in one variable of a function's environment, and AWS allows 4 KB for all of them.
    override: Annotated[list[_Override], Field(max_length=10)] = []


class _Budget(_Table):
    monthly_usd: Usd


class _ExemptTable(_Table):
    principals: Annotated[list[Exempt], AfterValidator(_distinct)] = []
    tag: ExemptTag | None = None


class _Arming(_Table):
    mode: Literal["named", "all", "listed"] = "named"
    # All settings travel in one variable of a function's environment.
    listed: Annotated[list[Exempt], Field(max_length=20), AfterValidator(_distinct)] = []

    @model_validator(mode="after")
    def _heeded(self) -> "_Arming":
        if self.listed and self.mode != "listed":
            msg = 'listed is heeded with mode = "listed" alone; in the others, tag whom you want armed too'
            raise ValueError(msg)
        return self


class _Detach(_Table):
    # What grants them has to fit into a role's policy, and they travel in a function's environment.
    policies: Annotated[list[DetachedPolicy], Field(max_length=10), AfterValidator(_distinct)] = []


class _Organization(_Table):
    management_account: AccountId
    account: AccountId
    target: ScpTarget = "account"
    on_management: bool = False

    @model_validator(mode="after")
    def _not_on_the_management_account(self) -> "_Organization":
        if self.account == self.management_account and not self.on_management:
            msg = "account is the management account, which no SCP binds: set on_management = true if you mean it"
            raise ValueError(msg)
        return self


class _Throttle(_Table):
    gateways: bool = False
    gateway_percent: Annotated[int, Field(ge=1, le=99)] = 25


class _Work(_Table):
    irreversible: Annotated[list[Irreversible], AfterValidator(_distinct)] = []
    spare: Annotated[list[Sparable], AfterValidator(_distinct)] = []

    @model_validator(mode="after")
    def _not_both(self) -> "_Work":
        if both := [each for each in self.irreversible if each in self.spare]:
            msg = f"spare must not name what irreversible names ({', '.join(both)})"
            raise ValueError(msg)
        return self


class _Options(_Table):
    external_anthropic: bool = False
    keep_ledger: bool = False
    inline_deny: bool = False


class _File(_Table):
    mode: Literal["enforce", "report-only"]
    prefix: Prefix = "bedrock-spend"
    regions: Annotated[list[Region], AfterValidator(_distinct)] = []
    emails: Annotated[list[Email], AfterValidator(_distinct)] = []
    limits: _Limits
    ladder: _Ladder = _Ladder()
    reaction: _Reaction = _Reaction()
    pace: _Pace = _Pace()
    step_down: _StepDown = _StepDown()
    inventory: _Inventory = _Inventory()
    prices: _Prices = _Prices()
    budget: _Budget
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
class Configuration:
    """What the user configured."""

    settings: Settings
    home: str | None
    """The region the stack is deployed to; None when it is not known yet."""
    emails: tuple[str, ...]
    budget_usd: Decimal
    keep_ledger: bool


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
        parsed = _File.model_validate(data)
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


def _organization(file: _File) -> Organization | None:
    if (given := file.organization) is None:
        return None
    target = given.account if given.target == "account" else given.target
    return Organization(file.prefix, given.management_account, given.account, target)


def _configuration(file: _File, home: str | None) -> Configuration:
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
    )
