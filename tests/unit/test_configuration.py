"""guardrail.toml: the shipped file, and one line for every kind of mistake."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from lambdas import settings as lambda_settings
from lambdas.core.assumptions import Assumptions
from lambdas.core.limits import Ladder, Limit
from lambdas.core.prices import Override, Pricing
from lambdas.core.windows import Window
from lambdas.core.work import Choice
from lambdas.settings import Organization
from stacks.configuration import ConfigurationError, load

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "guardrail.toml"

MINIMAL = """\
mode = "report-only"
[limits]
month = 100
[budget]
monthly_usd = 100
"""

EMAIL_RULE = "must be an e-mail address"
EXEMPT_RULE = 'must be "role/NAME" or "user/NAME", the path included; * and ? are allowed, but not alone'
TAG_RULE = (
    'must be "KEY=VALUE", one tag of roles and users in full: letters, digits and _.:/+@- in the key, '
    "blanks and = in the value too"
)
PREFIX_RULE = "must be 3 to 24 lower-case letters, digits and dashes, a letter first and no dash last"
HOLD_RULE = 'must be "hour", "day" or "month"; what the minute stopped always waits for a person'
HOLD_UNSET = "hold must name windows that have a limit"
USD_RULE = "must be a number of USD from 0.01 to 1,000,000,000"
PERCENT_RULE = "must be a percentage above 0 and below 100"
GLOB_RULE = "must be a model id of at most 128 characters; * and ? are allowed, but not alone"
SOME_PRICE_RULE = "must set at least one of input, output, cache_read, cache_write, image"
FACTOR_RULE = "must be a number from 0.1 to 10"
UNKNOWN = "is no key of this file"
MISSING = "is missing and has no default"
NOT_BEDROCK = "must be a commercial AWS region that has Bedrock"
REGIONS = 'regions = ["us-east-1", "us-east-2", "us-west-2", "eu-central-1"]'


@pytest.fixture
def write(tmp_path):
    def _write(text):
        file = tmp_path / "guardrail.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return _write


def edited(*edits):
    """Return the shipped file with passages replaced; each must be there exactly once."""
    text = SHIPPED.read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def complaint(file):
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    return str(caught.value)


def test_the_shipped_file_is_what_the_documentation_says():
    configuration = load(SHIPPED)
    settings = configuration.settings
    ladder = Ladder(warn=Decimal(50), step_down=Decimal(80))
    assert settings.enforce is True
    assert settings.prefix == "bedrock-spend"
    assert settings.regions == ("eu-central-1", "us-east-1", "us-east-2", "us-west-2")
    assert settings.max_blind_usd == Decimal(5)
    assert settings.limits == (
        Limit(Window.MINUTE, Decimal(5), ladder),
        Limit(Window.DAY, Decimal(50), ladder),
        Limit(Window.MONTH, Decimal(500), ladder),
    )
    assert settings.budget == ladder
    assert settings.reaction == timedelta(seconds=240)
    assert settings.exempt == ()
    assert settings.external_anthropic is False
    assert settings.pricing == Pricing()
    assert settings.detach == ()
    assert settings.organization is None
    assert configuration.emails == ()
    assert configuration.budget_usd == Decimal(500)
    assert configuration.settings.step_down_output_usd == Decimal(15)
    assert configuration.keep_ledger is False


def test_the_shipped_file_says_in_its_first_line_what_to_do():
    first = SHIPPED.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("# EDIT THESE LIMITS BEFORE YOU DEPLOY")
    assert 'mode = "enforce"' in first


def test_everything_with_a_default_can_be_left_out(write):
    configuration = load(write(MINIMAL))
    settings = configuration.settings
    nothing = Ladder(warn=None, step_down=None)
    assert settings.enforce is False
    assert settings.prefix == "bedrock-spend"
    assert settings.regions == ()
    assert settings.limits == (Limit(Window.MONTH, Decimal(100), nothing),)
    assert settings.budget == nothing
    assert settings.reaction == timedelta(seconds=240)
    assert configuration.settings.step_down_output_usd == Decimal(15)


def test_the_defaults_are_those_of_the_shipped_file(write):
    """Whoever deletes an optional table gets what the file showed; the ladder alone is off when left out."""
    text = SHIPPED.read_text(encoding="utf-8")
    start, end = text.index("[reaction]"), text.index("[budget]")
    shorter = text[:start] + text[end : text.index("[exempt]")]
    assert load(write(shorter)) == load(SHIPPED)


def test_amounts_are_exact(write):
    configuration = load(
        write(edited(("minute = 5", "minute = 0.10"), ("monthly_usd = 500", "monthly_usd = 1_234.56")))
    )
    assert configuration.settings.limits[0].usd == Decimal("0.10")
    assert configuration.budget_usd == Decimal("1234.56")


def test_inline_denies_are_off_unless_asked_for_and_take_no_room_in_the_settings_then(write):
    shipped = load(SHIPPED).settings
    assert shipped.inline_deny is False
    assert "inline_deny" not in shipped.to_json()
    asked_for = load(write(edited(("inline_deny = false", "inline_deny = true")))).settings
    assert asked_for.inline_deny is True
    assert lambda_settings.read({"GUARDRAIL": asked_for.to_json()}) == asked_for


def test_a_tag_exempts_and_takes_room_in_the_settings_only_where_it_is_given(write):
    tagged = load(write(edited(("principals = []", 'principals = []\ntag = "Team=break glass=1"')))).settings
    assert tagged.exempt_tag == "Team=break glass=1"
    assert tagged.spared.tag == "Team=break glass=1"
    assert lambda_settings.read({"GUARDRAIL": tagged.to_json()}) == tagged
    plain = load(SHIPPED).settings
    assert plain.exempt_tag == ""
    assert "exempt_tag" not in plain.to_json()


def test_what_a_stop_ends_is_told_and_takes_room_in_the_settings_only_where_it_is_chosen(write):
    text = edited(
        ("irreversible = []", 'irreversible = ["provisioned-throughput"]'), ("spare = []", 'spare = ["batch-job"]')
    )
    chosen = load(write(text)).settings
    assert chosen.work == Choice(irreversible=("provisioned-throughput",), spare=("batch-job",))
    assert lambda_settings.read({"GUARDRAIL": chosen.to_json()}) == chosen
    plain = load(SHIPPED).settings
    assert plain.work == Choice()
    assert "work" not in plain.to_json()


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (
            ("irreversible = []", 'irreversible = ["batch-job"]'),
            (
                'work.irreversible[0] = "batch-job": must be one of provisioned-throughput, marketplace-endpoint, '
                "custom-model-deployment"
            ),
        ),
        (
            ("spare = []", 'spare = ["import-job"]'),
            (
                'work.spare[0] = "import-job": must be one of batch-job, customization-job, evaluation-job, '
                "prompt-optimization-job, ingestion-job, flow-execution, reasoning-build, agent-evaluation, "
                "browser-session, code-session, provisioned-throughput, marketplace-endpoint, custom-model-deployment"
            ),
        ),
        (
            ("spare = []", 'spare = ["batch-job", "batch-job"]'),
            'work.spare = ["batch-job", "batch-job"]: must not name anything twice (batch-job)',
        ),
        (
            (
                "spare = []\nirreversible = []",
                'spare = ["marketplace-endpoint"]\nirreversible = ["marketplace-endpoint"]',
            ),
            (
                'work = {spare = ["marketplace-endpoint"], irreversible = ["marketplace-endpoint"]}: spare must not '
                "name what irreversible names (marketplace-endpoint)"
            ),
        ),
    ],
)
def test_a_mistake_in_what_a_stop_ends_is_told_in_one_line(edit, line, write):
    file = write(edited(edit))
    assert complaint(file) == f"{file}: {line}"


def test_what_the_functions_are_told_is_what_was_configured(write):
    text = edited(
        ("principals = []", 'principals = ["role/ops/break-glass", "user/ops-*"]'),
        ("minute = 5", "minute = 0.1\nhour = 20"),
        ("warn = 50\n", ""),
        ('"enforce"\n\n', '"report-only"\n\n'),
        ("external_anthropic = false", "external_anthropic = true"),
    )
    text = text.replace("# max_blind_usd = 5", "max_blind_usd = 0.1")
    settings = load(write(text), home="us-east-1").settings
    assert settings.max_blind_usd == Decimal("0.1")
    assert lambda_settings.read({lambda_settings.VARIABLE: settings.to_json()}) == settings


OVERRIDE = '[[prices.override]]\nmodel = "arn:*"\n'


def test_the_functions_are_told_what_the_user_knows_of_prices(write):
    text = edited(
        ("factor = 1\n", "factor = 0.93\n"),
        ("priority_tier = true", "priority_tier = false"),
        ("long_context = true", "long_context = false"),
        ("[budget]", f"{OVERRIDE}input = 0\ncache_write = 1.5\n{OVERRIDE}image = 2\n[budget]"),
    )
    settings = load(write(text)).settings
    assert settings.pricing == Pricing(
        factor=Decimal("0.93"),
        priority_tier=False,
        long_context=False,
        overrides=(
            Override("arn:*", input=Decimal(0), cache_write=Decimal("1.5")),
            Override("arn:*", image=Decimal(2)),
        ),
    )
    assert lambda_settings.read({lambda_settings.VARIABLE: settings.to_json()}) == settings


def test_gateways_are_left_alone_unless_the_file_says_how_far_to_lower_them(write):
    left = load(SHIPPED).settings
    assert left.gateway_percent is None
    assert "gateway" not in left.to_json()
    assert lambda_settings.read({lambda_settings.VARIABLE: left.to_json()}) == left
    lowered = load(
        write(edited(("gateways = false", "gateways = true"), ("gateway_percent = 25", "gateway_percent = 10")))
    )
    assert lowered.settings.gateway_percent == 10
    assert lambda_settings.read({lambda_settings.VARIABLE: lowered.settings.to_json()}) == lowered.settings


def test_a_held_limit_says_so_and_travels_to_the_functions(write):
    settings = load(write(edited(('# hold = ["month"]', 'hold = ["month"]')))).settings
    assert [each.window for each in settings.limits if each.hold] == [Window.MONTH]
    assert lambda_settings.read({"GUARDRAIL": settings.to_json()}).limits == settings.limits
    assert settings.to_json().count("hold") == 1


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("month = 100", "5"),
        ("hour = 499.99\nday = 40000", "5"),
        ("hour = 501\nday = 40000", "5.01"),
        ("day = 40000\nmonth = 50000", "400"),
        # Never above a quarter of what may be spent at all.
        ("day = 20", "5"),
        ("day = 19.99", "4.9975"),
        ("minute = 0.01\nhour = 0.01\nmonth = 1000", "0.0025"),
        # A rate says little of sums.
        ("minute = 5000", "5"),
        ("minute = 30", "5"),
        ("minute = 2", "2"),
        # Beside a sum, a rate does not count.
        ("minute = 2\nday = 2000", "20"),
        ("minute = 8\nday = 8", "2"),
    ],
)
def test_what_may_go_unseen_follows_from_the_smallest_limit(limits, expected, write):
    settings = load(write(MINIMAL.replace("month = 100", limits))).settings
    assert settings.max_blind_usd == Decimal(expected)


def test_what_may_go_unseen_can_be_set_up_to_the_smallest_limit(write):
    text = MINIMAL.replace("[budget]", "[pace]\nmax_blind_usd = 100\n[budget]")
    assert load(write(text)).settings.max_blind_usd == Decimal(100)


def test_tripwires_hang_in_every_listed_region_when_the_home_region_is_known(write):
    listed = ("eu-central-1", "us-east-1", "us-east-2", "us-west-2")
    for home, watched in ((None, ()), ("us-east-1", listed), ("eu-west-3", listed)):
        configuration = load(SHIPPED, home=home)
        assert (configuration.home, configuration.settings.watched) == (home, watched)
    assert load(write(MINIMAL), home="us-east-1").settings.watched == ()


MISTAKES = {
    "gateways that are stopped at step-down": (
        ("gateway_percent = 25", "gateway_percent = 0"),
        "throttle.gateway_percent = 0: Input should be greater than or equal to 1",
    ),
    "gateways that are not lowered": (
        ("gateway_percent = 25", "gateway_percent = 100"),
        "throttle.gateway_percent = 100: Input should be less than or equal to 99",
    ),
    "gateways that are counted": (
        ("gateways = false", "gateways = 1"),
        "throttle.gateways = 1: Input should be a valid boolean",
    ),
    "an unknown key": (('"enforce"\n\n', '"enforce"\ncolour = "red"\n\n'), f'colour = "red": {UNKNOWN}'),
    "a minute that is held": (
        ('# hold = ["month"]', 'hold = ["minute"]'),
        f'limits.hold[0] = "minute": {HOLD_RULE}',
    ),
    "a held window without a limit": (
        ('# hold = ["month"]', 'hold = ["hour", "month"]'),
        f'limits = {{minute = 5, day = 50, month = 500, hold = ["hour", "month"]}}: {HOLD_UNSET} (hour)',
    ),
    "a window held twice": (
        ('# hold = ["month"]', 'hold = ["day", "day"]'),
        'limits.hold = ["day", "day"]: must not name anything twice (day)',
    ),
    "an unknown key of a table": (("minute = 5", "minute = 5\nweek = 1"), f"limits.week = 1: {UNKNOWN}"),
    "an unknown table": (("[options]", "[option]\nx = [1, true]\n[options]"), f"option = {{x = [1, true]}}: {UNKNOWN}"),
    "a key in the wrong table": (("[options]", "[options]\nminute = 1"), f"options.minute = 1: {UNKNOWN}"),
    "text for a number": (("minute = 5", 'minute = "5"'), f'limits.minute = "5": {USD_RULE}'),
    "a list for a number": (("minute = 5", "minute = [5]"), f"limits.minute = [5]: {USD_RULE}"),
    "a date for a number": (("minute = 5", "minute = 1979-05-27"), f"limits.minute = 1979-05-27: {USD_RULE}"),
    "a truth value for a number": (("minute = 5", "minute = true"), f"limits.minute = true: {USD_RULE}"),
    "a truth value for a percentage": (("warn = 50", "warn = false"), f"ladder.warn = false: {PERCENT_RULE}"),
    "a truth value for seconds": (
        ("seconds = 240", "seconds = true"),
        "reaction.seconds = true: Input should be a valid integer",
    ),
    "a fraction of a second": (
        ("seconds = 240", "seconds = 2.5"),
        "reaction.seconds = 2.5: Input should be a valid integer",
    ),
    "text for a truth value": (
        ("external_anthropic = false", 'external_anthropic = "no"'),
        'options.external_anthropic = "no": Input should be a valid boolean',
    ),
    "a number for a truth value": (
        ("keep_ledger = false", "keep_ledger = 0"),
        "options.keep_ledger = 0: Input should be a valid boolean",
    ),
    "a number for a region": ((REGIONS, "regions = [1]"), "regions[0] = 1: Input should be a valid string"),
    "a word for a list": ((REGIONS, 'regions = "us-east-1"'), 'regions = "us-east-1": Input should be a valid list'),
    "a number for a table": (
        ("[limits]\nminute = 5\n# hour = 20\nday = 50\nmonth = 500\n", "limits = 5\n"),
        "limits = 5: must be a table",
    ),
    "another mode": (
        ('"enforce"\n\n', '"enforced"\n\n'),
        "mode = \"enforced\": Input should be 'enforce' or 'report-only'",
    ),
    "a limit of nothing": (("minute = 5", "minute = 0"), f"limits.minute = 0: {USD_RULE}"),
    "a limit below nothing": (("minute = 5", "minute = -0.5"), f"limits.minute = -0.5: {USD_RULE}"),
    "a limit beyond reason": (
        ("month = 500", "month = 1_000_000_001"),
        f"limits.month = 1000000001: {USD_RULE}",
    ),
    "a limit that is no number": (
        ("minute = 5", "minute = nan"),
        f"limits.minute = NaN: {USD_RULE}",
    ),
    "a limit without end": (
        ("minute = 5", "minute = inf"),
        f"limits.minute = Infinity: {USD_RULE}",
    ),
    "a budget of nothing": (
        ("monthly_usd = 500", "monthly_usd = 0"),
        f"budget.monthly_usd = 0: {USD_RULE}",
    ),
    "a budget without end": (
        ("monthly_usd = 500", "monthly_usd = -inf"),
        f"budget.monthly_usd = -Infinity: {USD_RULE}",
    ),
    "a price of nothing": (
        ("output_usd_per_million = 15", "output_usd_per_million = 0"),
        f"step_down.output_usd_per_million = 0: {USD_RULE}",
    ),
    "a rung at the top": (
        ("step_down = 80", "step_down = 100"),
        f"ladder.step_down = 100: {PERCENT_RULE}",
    ),
    "a rung at the bottom": (("warn = 50", "warn = 0"), f"ladder.warn = 0: {PERCENT_RULE}"),
    "too long a reaction": (
        ("seconds = 240", "seconds = 3601"),
        "reaction.seconds = 3601: Input should be less than or equal to 3600",
    ),
    "a reaction before the cause": (
        ("seconds = 240", "seconds = -1"),
        "reaction.seconds = -1: Input should be greater than or equal to 0",
    ),
    "rungs in the wrong order": (
        ("warn = 50", "warn = 80"),
        "ladder = {warn = 80, step_down = 80}: warn must be below step_down",
    ),
    "a minute above the day": (
        ("minute = 5", "minute = 51"),
        "limits = {minute = 51, day = 50, month = 500}: minute must not be above day: it could never be reached",
    ),
    "a day above the month": (
        ("day = 50", "day = 500.01"),
        "limits = {minute = 5, day = 500.01, month = 500}: day must not be above month: it could never be reached",
    ),
    "more unseen than a limit": (
        ("# max_blind_usd = 5\n", "max_blind_usd = 50.01\n"),
        "pace = {max_blind_usd = 50.01}: max_blind_usd must not be above 50, the smallest limit",
    ),
    "nothing unseen": (("# max_blind_usd = 5\n", "max_blind_usd = 0\n"), f"pace.max_blind_usd = 0: {USD_RULE}"),
    "a pace in words": (
        ("# max_blind_usd = 5\n", 'max_blind_usd = "5"\n'),
        f'pace.max_blind_usd = "5": {USD_RULE}',
    ),
    "no limit at all": (
        ("minute = 5\n# hour = 20\nday = 50\nmonth = 500\n", ""),
        "limits = {}: must set at least one of minute, hour, day, month",
    ),
    "a region twice": (
        (REGIONS, 'regions = ["us-east-1", "us-east-1"]'),
        'regions = ["us-east-1", "us-east-1"]: must not name anything twice (us-east-1)',
    ),
    "an unknown region": ((REGIONS, 'regions = ["us-east-1", "mars-1"]'), f'regions[1] = "mars-1": {NOT_BEDROCK}'),
    "a region without Bedrock": ((REGIONS, 'regions = ["aws-global"]'), f'regions[0] = "aws-global": {NOT_BEDROCK}'),
    "no mode": (('mode = "enforce"\n\n', ""), f"mode: {MISSING}"),
    "no limits": (("[limits]\nminute = 5\n# hour = 20\nday = 50\nmonth = 500\n", ""), f"limits: {MISSING}"),
    "no budget": (("[budget]\nmonthly_usd = 500\n", ""), f"budget: {MISSING}"),
    "no amount of the budget": (("monthly_usd = 500\n", ""), f"budget.monthly_usd: {MISSING}"),
    "no address": (("emails = []", 'emails = ["ops"]'), f'emails[0] = "ops": {EMAIL_RULE}'),
    "an address with a blank": (
        ("emails = []", 'emails = ["a@b.example", "on call@b.example"]'),
        f'emails[1] = "on call@b.example": {EMAIL_RULE}',
    ),
    "an address twice": (
        ("emails = []", 'emails = ["a@b.example", "a@b.example"]'),
        'emails = ["a@b.example", "a@b.example"]: must not name anything twice (a@b.example)',
    ),
    "an exempt name alone": (
        ("principals = []", 'principals = ["break-glass"]'),
        f'exempt.principals[0] = "break-glass": {EXEMPT_RULE}',
    ),
    "an exempt group": (
        ("principals = []", 'principals = ["group/admins"]'),
        f'exempt.principals[0] = "group/admins": {EXEMPT_RULE}',
    ),
    "an exempt ARN": (
        ("principals = []", 'principals = ["arn:aws:iam::123456789012:role/x"]'),
        f'exempt.principals[0] = "arn:aws:iam::123456789012:role/x": {EXEMPT_RULE}',
    ),
    "everybody exempt": (("principals = []", 'principals = ["*"]'), f'exempt.principals[0] = "*": {EXEMPT_RULE}'),
    "every role exempt": (
        ("principals = []", 'principals = ["role/*"]'),
        f'exempt.principals[0] = "role/*": {EXEMPT_RULE}',
    ),
    "an exempt name twice": (
        ("principals = []", 'principals = ["role/x", "role/x"]'),
        'exempt.principals = ["role/x", "role/x"]: must not name anything twice (role/x)',
    ),
    "an exempt tag without a value": (
        ("principals = []", 'principals = []\ntag = "team="'),
        f'exempt.tag = "team=": {TAG_RULE}',
    ),
    "an exempt tag that is a pattern": (
        ("principals = []", 'principals = []\ntag = "team=*"'),
        f'exempt.tag = "team=*": {TAG_RULE}',
    ),
    "an exempt tag with a policy variable": (
        ("principals = []", 'principals = []\ntag = "team=${aws:username}"'),
        f'exempt.tag = "team=${{aws:username}}": {TAG_RULE}',
    ),
    "an exempt tag with a blank in its key": (
        ("principals = []", 'principals = []\ntag = "my team=a"'),
        f'exempt.tag = "my team=a": {TAG_RULE}',
    ),
    "a factor of nothing": (("factor = 1\n", "factor = 0\n"), f"prices.factor = 0: {FACTOR_RULE}"),
    "a factor too large": (("factor = 1\n", "factor = 10.1\n"), f"prices.factor = 10.1: {FACTOR_RULE}"),
    "a factor in words": (("factor = 1\n", 'factor = "7 %"\n'), f'prices.factor = "7 %": {FACTOR_RULE}'),
    "an own price that says nothing": (
        ("[budget]", f"{OVERRIDE}[budget]"),
        f'prices.override[0] = {{model = "arn:*"}}: {SOME_PRICE_RULE}',
    ),
    "an own price of everything": (
        ("[budget]", '[[prices.override]]\nmodel = "*"\ninput = 1\n[budget]'),
        f'prices.override[0].model = "*": {GLOB_RULE}',
    ),
    "an own price below nothing": (
        ("[budget]", f"{OVERRIDE}input = -1\n[budget]"),
        "prices.override[0].input = -1: must be a number of USD from 0 to 100,000",
    ),
    "an own price of nothing": (
        ("[budget]", "[[prices.override]]\ninput = 1\n[budget]"),
        f"prices.override[0].model: {MISSING}",
    ),
    "a prefix in capitals": (('"bedrock-spend"\n', '"Bedrock"\n'), f'prefix = "Bedrock": {PREFIX_RULE}'),
    "a prefix of one letter": (('"bedrock-spend"\n', '"b"\n'), f'prefix = "b": {PREFIX_RULE}'),
    "a prefix with a path": (('"bedrock-spend"\n', '"a/b"\n'), f'prefix = "a/b": {PREFIX_RULE}'),
    "a prefix with a dash at its end": (('"bedrock-spend"\n', '"spend-"\n'), f'prefix = "spend-": {PREFIX_RULE}'),
}


@pytest.mark.parametrize(("edit", "line"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_line_with_file_key_value_and_rule(edit, line, write):
    file = write(edited(edit))
    assert complaint(file) == f"{file}: {line}"


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (("day = 50\n", "day = 50\nday = 60\n"), "line 24"),
        (("[ladder]", "[limits]"), "line 32"),
        (("day = 50\n", "day 50\n"), "line 23"),
    ],
    ids=["a key twice", "a table twice", "no equals sign"],
)
def test_what_is_not_toml_is_told_with_its_place(edit, place, write):
    file = write(edited(edit))
    said = complaint(file)
    assert said.startswith(f"{file}: is not TOML: ")
    assert place in said
    assert "\n" not in said


def test_what_is_not_text_is_told(tmp_path):
    file = tmp_path / "guardrail.toml"
    file.write_bytes(b"\xff\xfe")
    said = complaint(file)
    assert said.startswith(f"{file}: is not TOML: ")
    assert "\n" not in said


def test_a_file_that_is_not_there_is_told_with_what_to_do(tmp_path):
    file = tmp_path / "nowhere.toml"
    hint = "give its path with `make deploy CDK_ARGS='-c guardrail=PATH'`"
    assert complaint(file) == f"{file}: cannot be read (No such file or directory); {hint}"


def test_each_of_several_mistakes_has_its_line(write):
    file = write(edited(("minute = 5", "minute = 0"), ("warn = 50", "warn = 200"), ("[options]", "[options]\nx = 1")))
    assert complaint(file).splitlines() == [
        f"{file}: limits.minute = 0: {USD_RULE}",
        f"{file}: ladder.warn = 200: {PERCENT_RULE}",
        f"{file}: options.x = 1: {UNKNOWN}",
    ]


def test_an_empty_file_names_all_that_is_needed(write):
    file = write("")
    assert complaint(file).splitlines() == [f"{file}: {key}: {MISSING}" for key in ("mode", "limits", "budget")]


def test_the_app_ends_with_that_line_and_nothing_else(write, tmp_path):
    file = write(edited(("minute = 5", "minute = 0")))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={
            "PATH": path,
            "HOME": str(tmp_path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CDK_CONTEXT_JSON": json.dumps({"guardrail": str(file)}),
            "CDK_OUTDIR": str(tmp_path / "out"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1
    assert run.stderr.splitlines() == [f"{file}: limits.minute = 0: {USD_RULE}"]
    assert run.stdout == ""
    assert not (tmp_path / "out" / "manifest.json").exists()


HOURLY_RULE = "must be a number of USD from 0 to 100,000"


def test_the_shipped_assumptions_are_the_defaults_of_the_code():
    assert load(SHIPPED).settings.assumptions == Assumptions()


def test_prices_by_the_hour_reach_the_functions(write):
    text = edited(
        ("[inventory.usd_per_hour]", '[inventory.usd_per_hour]\n"ml.g5.2xlarge" = 1.52\n"*" = 40'),
        ("job_hour = 100", "job_hour = 65.5"),
    )
    settings = load(write(text)).settings
    assert settings.assumptions == Assumptions(
        job_hour=Decimal("65.5"), usd_per_hour={"ml.g5.2xlarge": Decimal("1.52"), "*": Decimal(40)}
    )
    assert lambda_settings.read({lambda_settings.VARIABLE: settings.to_json()}) == settings


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (("job_hour = 100", "job_hour = -1"), f"inventory.job_hour = -1: {HOURLY_RULE}"),
        (
            ("[inventory.usd_per_hour]", '[inventory.usd_per_hour]\n"ml.g5" = "1"'),
            f'inventory.usd_per_hour.ml.g5 = "1": {HOURLY_RULE}',
        ),
        (
            ("batch_input_tokens = 3000", "batch_input_tokens = 0"),
            "inventory.batch_input_tokens = 0: Input should be greater than or equal to 1",
        ),
    ],
)
def test_a_mistake_in_an_assumption_is_told_in_one_line(edit, line, write):
    file = write(edited(edit))
    assert complaint(file) == f"{file}: {line}"


DETACHED_RULE = (
    'must be "policy/NAME" of this account, the path included, or "arn:aws:iam::aws:policy/NAME" of AWS, which must '
    "have Bedrock in its name; no *"
)
FULL_ACCESS = "arn:aws:iam::aws:policy/AmazonBedrockFullAccess"


def test_the_policies_of_detach_mode_reach_the_functions(write):
    settings = load(write(f'{MINIMAL}[detach]\npolicies = ["policy/team/bedrock-use", "{FULL_ACCESS}"]\n')).settings
    assert settings.allow_policies("123456789012") == (
        "arn:aws:iam::123456789012:policy/team/bedrock-use",
        FULL_ACCESS,
    )
    assert lambda_settings.read({lambda_settings.VARIABLE: settings.to_json()}) == settings


@pytest.mark.parametrize(
    "policy",
    [
        "arn:aws:iam::aws:policy/AdministratorAccess",
        "arn:aws:iam::aws:policy/Bedrock/AdministratorAccess",
        "arn:aws:iam::aws:policy/AmazonBedrock*",
        "arn:aws:iam::123456789012:policy/bedrock-use",
        "policy/*",
        "policy/",
        "policy//bedrock-use",
        "bedrock-use",
        "role/agents",
    ],
)
def test_a_policy_that_must_not_be_handed_out_is_told_in_one_line(policy, write):
    file = write(f'{MINIMAL}[detach]\npolicies = ["{policy}"]\n')
    assert complaint(file) == f'{file}: detach.policies[0] = "{policy}": {DETACHED_RULE}'


@pytest.mark.parametrize(
    ("policies", "line"),
    [
        (
            '["policy/a", "policy/a"]',
            'detach.policies = ["policy/a", "policy/a"]: must not name anything twice (policy/a)',
        ),
        (
            '["policy/bedrock-spend-deny"]',
            (
                'detach = {policies = ["policy/bedrock-spend-deny"]}: '
                "policies must not name the guardrail's own (policy/bedrock-spend-deny)"
            ),
        ),
    ],
)
def test_a_mistake_in_detach_mode_is_told_in_one_line(policies, line, write):
    file = write(f"{MINIMAL}[detach]\npolicies = {policies}\n")
    assert complaint(file) == f"{file}: {line}"


def test_no_more_policies_are_detached_than_a_role_can_be_granted(write):
    many = ", ".join(f'"policy/bedrock-{number}"' for number in range(11))
    assert "detach.policies = [" in (told := complaint(write(f"{MINIMAL}[detach]\npolicies = [{many}]\n")))
    assert "at most 10 items" in told


ORGANIZATION = """\
[organization]
management_account = "111122223333"
account = "444455556666"
"""
TARGET_RULE = 'must be "account" or an organizational unit (ou-xxxx-yyyyyyyy); a root would stop every account'
ACCOUNT_RULE = "must be an account id: twelve digits, as text"


@pytest.mark.parametrize(
    ("target", "resolved"), [("account", "444455556666"), ("ou-ab12-cdefghij", "ou-ab12-cdefghij")]
)
def test_organization_mode_reaches_the_functions(target, resolved, write):
    settings = load(write(f'{MINIMAL}{ORGANIZATION}target = "{target}"\n')).settings
    assert settings.organization == Organization("bedrock-spend", "111122223333", "444455556666", resolved)
    assert lambda_settings.read({lambda_settings.VARIABLE: settings.to_json()}) == settings


def test_without_a_target_the_account_alone_is_stopped(write):
    organization = load(write(MINIMAL + ORGANIZATION)).settings.organization
    assert organization is not None
    assert organization.target == "444455556666"


def test_the_management_account_needs_a_word(write):
    text = MINIMAL + ORGANIZATION.replace("444455556666", "111122223333")
    file = write(text)
    assert complaint(file) == (
        f'{file}: organization = {{management_account = "111122223333", account = "111122223333"}}: '
        "account is the management account, which no SCP binds: set on_management = true if you mean it"
    )
    assert load(write(f"{text}on_management = true\n")).settings.organization is not None


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (('"444455556666"', '"444455556666"\ntarget = "r-ab12"'), f'organization.target = "r-ab12": {TARGET_RULE}'),
        (
            ('"444455556666"', '"444455556666"\ntarget = "111122223333"'),
            f'organization.target = "111122223333": {TARGET_RULE}',
        ),
        (('account = "444455556666"', 'account = "4444"'), f'organization.account = "4444": {ACCOUNT_RULE}'),
        (
            ('management_account = "111122223333"', 'management_account = "me"'),
            f'organization.management_account = "me": {ACCOUNT_RULE}',
        ),
        (('account = "444455556666"\n', ""), f"organization.account: {MISSING}"),
    ],
)
def test_a_mistake_in_organization_mode_is_told_in_one_line(edit, line, write):
    assert ORGANIZATION.count(edit[0]) == 1
    file = write(MINIMAL + ORGANIZATION.replace(*edit))
    assert complaint(file) == f"{file}: {line}"


def test_more_exempt_than_an_scp_holds_are_told_at_synthesis(write):
    names = ", ".join(f'"role/{number:060}"' for number in range(45))
    told = complaint(write(f"{MINIMAL}{ORGANIZATION}[exempt]\nprincipals = [{names}]\n"))
    assert "guardrail.toml: organization = " in told
    assert "AWS Organizations takes 5120: name fewer exempt.principals" in told
    assert len(told.splitlines()) == 1
