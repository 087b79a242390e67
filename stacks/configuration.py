"""guardrail.toml: read, checked, and turned into values; every mistake fails at synthesis, in one line."""

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from botocore.loaders import create_loader
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from lambdas.core.errors import GuardrailError
from lambdas.core.limits import Ladder, Limit
from lambdas.core.windows import Window
from lambdas.settings import Settings


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


Usd = Annotated[Decimal, BeforeValidator(_between("0.01", "1e9", "must be a number of USD from 0.01 to 1,000,000,000"))]
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


class _StepDown(_Table):
    output_usd_per_million: Usd = Decimal(15)


class _Budget(_Table):
    monthly_usd: Usd


class _ExemptTable(_Table):
    principals: Annotated[list[Exempt], AfterValidator(_distinct)] = []


class _Options(_Table):
    external_anthropic: bool = False
    keep_ledger: bool = False


class _File(_Table):
    mode: Literal["enforce", "report-only"]
    prefix: Prefix = "bedrock-spend"
    regions: Annotated[list[Region], AfterValidator(_distinct), Field(min_length=1)]
    emails: Annotated[list[Email], AfterValidator(_distinct)] = []
    limits: _Limits
    ladder: _Ladder = _Ladder()
    reaction: _Reaction = _Reaction()
    step_down: _StepDown = _StepDown()
    budget: _Budget
    exempt: _ExemptTable = _ExemptTable()
    options: _Options = _Options()


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the user configured."""

    settings: Settings
    emails: tuple[str, ...]
    budget_usd: Decimal
    step_down_output_usd: Decimal
    keep_ledger: bool


def load(file: Path) -> Configuration:
    """Read a configuration file. Raises ConfigurationError naming file, key, value and rule, a line a mistake."""
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
    return _configuration(parsed)


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


def _configuration(file: _File) -> Configuration:
    ladder = Ladder(file.ladder.warn, file.ladder.step_down)
    limits = tuple(
        Limit(window, usd, ladder) for window in Window if (usd := getattr(file.limits, window.value)) is not None
    )
    return Configuration(
        settings=Settings(
            prefix=file.prefix,
            enforce=file.mode == "enforce",
            regions=tuple(file.regions),
            limits=limits,
            budget=ladder,
            reaction=timedelta(seconds=file.reaction.seconds),
            exempt=tuple(file.exempt.principals),
            external_anthropic=file.options.external_anthropic,
        ),
        emails=tuple(file.emails),
        budget_usd=file.budget.monthly_usd,
        step_down_output_usd=file.step_down.output_usd_per_million,
        keep_ledger=file.options.keep_ledger,
    )
