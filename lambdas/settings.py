"""What the stack tells its functions through the environment: frozen values, or an error that names the variable."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from lambdas.core.arming import ArmingRule
from lambdas.core.assumptions import Assumptions
from lambdas.core.errors import GuardrailError
from lambdas.core.limits import Ladder, Limit
from lambdas.core.prices import Override, Pricing
from lambdas.core.principals import Spared
from lambdas.core.telling import Telling
from lambdas.core.windows import Window
from lambdas.core.work import Choice

VARIABLE = "GUARDRAIL"
"""The configuration, as JSON; validated when the stack was synthesized."""

STEP_DOWN_OUTPUT_USD = Decimal(15)


class SettingsError(GuardrailError):
    """A variable of the environment is missing or broken: deploy the stack again."""


@dataclass(frozen=True, slots=True)
class Organization:
    """Organization mode: the service control policy that a stop attaches, and the role that may."""

    prefix: str
    management_account: str
    """Where both are; the account of a delegated administrator will do."""
    account: str
    """The account the guardrail guards."""
    target: str
    """What the policy is attached to: that account, or an organizational unit it is in."""

    @property
    def policy_name(self) -> str:
        """The policy's name. Guardrails of other accounts have theirs in the same organization."""
        return f"{self.prefix}-stop-{self.account}"

    @property
    def stack_name(self) -> str:
        """The name of the stack in the management account, and of the role in it."""
        return f"{self.prefix}-organization-{self.account}"

    @property
    def role_arn(self) -> str:
        """The role."""
        return f"arn:aws:iam::{self.management_account}:role/{self.prefix}/{self.stack_name}"


@dataclass(frozen=True, slots=True)
class LiveDrill:
    """The drill in a deployed account: a canary role that counts tokens, which is free, is stopped alone."""

    model: str
    """A model that supports CountTokens in the home region."""
    monthly: bool = False
    """Whether it runs by itself once a month, and not only on demand."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The user's configuration as the functions need it."""

    prefix: str
    enforce: bool
    regions: tuple[str, ...]
    """The regions the user listed; the meter finds others by itself."""
    watched: tuple[str, ...]
    """Those of them that have tripwires: quiet, they need not be read. Empty when the home region was not known."""
    limits: tuple[Limit, ...]
    budget: Ladder
    reaction: timedelta
    max_blind_usd: Decimal
    """The most that may be spent between two readings, by the worst the meter reckons with."""
    exempt: tuple[str, ...]
    external_anthropic: bool
    assumptions: Assumptions = field(default_factory=Assumptions)
    """Hourly prices and sizes that no API tells, for the inventory."""
    pricing: Pricing = field(default_factory=Pricing)
    """What the user knows of their own prices."""
    step_down_output_usd: Decimal = STEP_DOWN_OUTPUT_USD
    """USD per million output tokens; dearer models are denied at step-down."""
    exempt_tag: str = ""
    """``KEY=VALUE``: roles and users that carry this tag are exempt too; empty when none is configured."""
    work: Choice = field(default_factory=Choice)
    """Which work and capacity a stop ends."""
    detach: tuple[str, ...] = ()
    """The allow-policies of detach mode, as the configuration spells them; empty when it is off."""
    organization: Organization | None = None
    """None when organization mode is off."""
    arming: ArmingRule = field(default_factory=ArmingRule)
    """Who is armed in peace."""
    telling: Telling = field(default_factory=Telling)
    """How people are told."""
    stop_when_silent: bool = False
    """Whether the account is stopped when the meter has fallen silent."""
    anomalies_step_down: bool = False
    """Whether Cost Anomaly Detection steps down; otherwise it only warns."""
    drill: LiveDrill | None = None
    """None when there is no canary."""
    inline_deny: bool = False
    """Whether roles without a free policy slot get an inline deny, of a function of its own."""
    gateway_percent: int | None = None
    """What a step-down leaves of the rate limits of AgentCore gateways; None when gateways are left alone."""

    @property
    def own_path(self) -> str:
        """The IAM path of the guardrail's own roles."""
        return f"/{self.prefix}/"

    @property
    def spared(self) -> Spared:
        """Who is never touched."""
        return Spared(self.exempt, self.exempt_tag)

    @property
    def canary(self) -> str:
        """The canary of the live drill as ``role/NAME``; empty when there is none."""
        return "" if self.drill is None else f"role/{self.prefix}-canary"

    def allow_policies(self, account_id: str) -> tuple[str, ...]:
        """Return the ARNs of the policies of detach mode."""
        return tuple(each if each.startswith("arn:") else f"arn:aws:iam::{account_id}:{each}" for each in self.detach)

    def tripwire(self, plane: str) -> str:
        """Return the name of the alarm on calls to a plane, ``bedrock`` or ``mantle``; the same in each region."""
        return self.alarm(f"calls-{plane}")

    def alarm(self, slug: str) -> str:
        """Return the name of an alarm, and of the queue of what was not delivered; the same in each region."""
        return f"{self.prefix}-{slug}"

    def to_json(self) -> str:
        """Return what `read` reads."""
        return json.dumps(
            {
                "prefix": self.prefix,
                "enforce": self.enforce,
                "regions": list(self.regions),
                "watched": list(self.watched),
                "limits": [
                    {"window": each.window.value, "usd": str(each.usd), "ladder": _ladder_json(each.ladder)}
                    | ({"hold": True} if each.hold else {})
                    for each in self.limits
                ],
                "budget": _ladder_json(self.budget),
                "reaction_seconds": int(self.reaction.total_seconds()),
                "max_blind_usd": str(self.max_blind_usd),
                "exempt": list(self.exempt),
                **(
                    {"step_down_output_usd": str(self.step_down_output_usd)}
                    if self.step_down_output_usd != STEP_DOWN_OUTPUT_USD
                    else {}
                ),
                **({"exempt_tag": self.exempt_tag} if self.exempt_tag else {}),
                **({} if self.gateway_percent is None else {"gateway_percent": self.gateway_percent}),
                **({"inline_deny": True} if self.inline_deny else {}),
                **({"detach": list(self.detach)} if self.detach else {}),
                **({"organization": _organization_json(self.organization)} if self.organization else {}),
                **({"telling": telling} if (telling := self.telling.to_json()) else {}),
                **({"stop_when_silent": True} if self.stop_when_silent else {}),
                **({"anomalies_step_down": True} if self.anomalies_step_down else {}),
                **({"drill": asdict(self.drill)} if self.drill else {}),
                **({"arming": arming} if (arming := self.arming.to_json()) else {}),
                "external_anthropic": self.external_anthropic,
                "assumptions": self.assumptions.to_json(),
                "prices": _pricing_json(self.pricing),
                **{f"work_{name}": list(keys) for name, keys in asdict(self.work).items() if keys},
            },
            separators=(",", ":"),
        )


def variable(environment: Mapping[str, str], name: str) -> str:
    """Return a variable. Raises SettingsError when it is missing or empty."""
    value = environment.get(name, "")
    if not value:
        msg = f"environment variable {name} is missing: the function was changed by hand; deploy the stack again"
        raise SettingsError(msg)
    return value


def read(environment: Mapping[str, str]) -> Settings:
    """Read the configuration. Raises SettingsError."""
    text = variable(environment, VARIABLE)
    try:
        data = json.loads(text)
        return Settings(
            prefix=str(data["prefix"]),
            enforce=bool(data["enforce"]),
            regions=tuple(data["regions"]),
            watched=tuple(data["watched"]),
            limits=tuple(
                Limit(
                    Window(each["window"]),
                    Decimal(each["usd"]),
                    _ladder(each["ladder"]),
                    hold=bool(each.get("hold", False)),
                )
                for each in data["limits"]
            ),
            budget=_ladder(data["budget"]),
            reaction=timedelta(seconds=data["reaction_seconds"]),
            max_blind_usd=Decimal(data["max_blind_usd"]),
            exempt=tuple(data["exempt"]),
            external_anthropic=bool(data["external_anthropic"]),
            assumptions=Assumptions.from_json(data["assumptions"]),
            pricing=_pricing(data["prices"]),
            step_down_output_usd=Decimal(data.get("step_down_output_usd", STEP_DOWN_OUTPUT_USD)),
            exempt_tag=str(data.get("exempt_tag", "")),
            work=Choice(*(tuple(data.get(f"work_{each.name}", ())) for each in fields(Choice))),
            gateway_percent=int(data["gateway_percent"]) if "gateway_percent" in data else None,
            inline_deny=bool(data.get("inline_deny", False)),
            detach=tuple(data.get("detach", ())),
            organization=Organization(data["prefix"], **data["organization"]) if "organization" in data else None,
            arming=ArmingRule.from_json(data.get("arming", {})),
            telling=Telling.from_json(data.get("telling", {})),
            stop_when_silent=bool(data.get("stop_when_silent", False)),
            anomalies_step_down=bool(data.get("anomalies_step_down", False)),
            drill=LiveDrill(**data["drill"]) if "drill" in data else None,
        )
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        msg = f"environment variable {VARIABLE} cannot be read ({error!r}): deploy the stack again"
        raise SettingsError(msg) from error


def _organization_json(organization: Organization) -> dict[str, str]:
    return {
        "management_account": organization.management_account,
        "account": organization.account,
        "target": organization.target,
    }


def _ladder_json(ladder: Ladder) -> dict[str, str | None]:
    return {
        "warn": None if ladder.warn is None else str(ladder.warn),
        "step_down": None if ladder.step_down is None else str(ladder.step_down),
    }


def _pricing_json(pricing: Pricing) -> dict[str, Any]:
    return {
        "factor": str(pricing.factor),
        "priority_tier": pricing.priority_tier,
        "long_context": pricing.long_context,
        "overrides": [
            {"model": each.model} | {kind: str(usd) for kind, usd in each.amounts.items()} for each in pricing.overrides
        ],
    }


def _pricing(data: Mapping[str, Any]) -> Pricing:
    return Pricing(
        factor=Decimal(data["factor"]),
        priority_tier=bool(data["priority_tier"]),
        long_context=bool(data["long_context"]),
        overrides=tuple(
            Override(each["model"], **{kind: Decimal(usd) for kind, usd in each.items() if kind != "model"})
            for each in data["overrides"]
        ),
    )


def _ladder(data: Mapping[str, Any]) -> Ladder:
    return Ladder(*(None if data[rung] is None else Decimal(data[rung]) for rung in ("warn", "step_down")))
