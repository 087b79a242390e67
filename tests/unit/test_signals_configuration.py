"""What the configuration says of signals, notices and trust."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from lambdas.core.telling import Telling
from lambdas.settings import LiveDrill, read
from stacks.configuration import Anomalies, ConfigurationError, load

_LEAST = 'mode = "enforce"\n[limits]\nday = 50\n'
_MONITOR = "arn:aws:ce::123456789012:anomalymonitor/abcdef12-1234-4ea0-84cc-918a97d736ef"


@pytest.fixture
def loaded(tmp_path: Path):
    def load_text(text: str, budget: str = "monthly_usd = 500"):
        file = tmp_path / "g.toml"
        file.write_text(f"{_LEAST}[budget]\n{budget}\n{text}", encoding="utf-8")
        return load(file)

    return load_text


def test_without_a_word_people_are_mailed_the_digest_and_nothing_beyond(loaded):
    found = loaded("")
    assert found.settings.telling == Telling()
    assert found.settings.stop_when_silent is False
    assert found.settings.drill is None
    assert found.anomalies is None
    assert (found.dashboard, found.encrypt, found.token_alarms, found.log_alarms) == (True, False, False, False)
    assert (found.escalate, found.natively_stopped, found.daily_budget_usd) == ((), (), None)


def test_everything_travels_to_the_functions_and_back(loaded):
    text = f"""
[alarms]
silent_meter = "stop"
tokens = true
log_delivery = true
[notices]
chat = true
again_minutes = 30
escalate = ["boss@example.com"]
escalate_minutes = 45
digest = false
spike_percent = 200
owner_tag = "team:owner"
sender = "guardrail@example.com"
[anomalies]
monitor = "{_MONITOR}"
impact_usd = 250
act = "step-down"
[live_drill]
model = "anthropic.claude-sonnet-4-20250514-v1:0"
monthly = true
[options]
dashboard = false
encrypt = true
"""
    found = loaded(text, budget='monthly_usd = 500\ndaily_usd = 40\nstop_natively = ["role/agent", "group/makers"]')
    assert read({"GUARDRAIL": found.settings.to_json()}) == found.settings
    assert found.settings.telling == Telling(
        chat=True,
        again=timedelta(minutes=30),
        escalate_after=timedelta(minutes=45),
        digest=False,
        spike_percent=200,
        owner_tag="team:owner",
        sender="guardrail@example.com",
    )
    assert found.settings.drill == LiveDrill("anthropic.claude-sonnet-4-20250514-v1:0", monthly=True)
    assert found.settings.stop_when_silent
    assert found.settings.anomalies_step_down
    assert found.anomalies == Anomalies(_MONITOR, Decimal(250))
    assert found.natively_stopped == ("role/agent", "group/makers")
    assert found.daily_budget_usd == Decimal(40)
    assert found.escalate == ("boss@example.com",)
    assert (found.dashboard, found.encrypt, found.token_alarms, found.log_alarms) == (False, True, True, True)


def test_aws_budgets_is_not_told_to_act_where_nothing_is_to_be_touched(tmp_path: Path):
    file = tmp_path / "g.toml"
    text = 'mode = "report-only"\n[limits]\nday = 5\n[budget]\nmonthly_usd = 5\nstop_natively = ["role/agent"]\n'
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="stop_natively must be empty"):
        load(file)


def test_nobody_to_escalate_to_means_that_nothing_is_escalated(loaded):
    assert loaded("[notices]\nescalate_minutes = 15\n").settings.telling.escalate_after is None


@pytest.mark.parametrize(
    ("text", "budget", "says"),
    [
        ("", "monthly_usd = 5\ndaily_usd = 6", "daily_usd must not be above monthly_usd"),
        ("", 'monthly_usd = 5\nstop_natively = ["role/team/agent"]', "without path"),
        ("", 'monthly_usd = 5\nstop_natively = ["role/*"]', "without *"),
        ('[anomalies]\nmonitor = "mine"', "monthly_usd = 5", 'must be "create" or the ARN of a monitor'),
        ("[anomalies]\nimpact_usd = 5", "monthly_usd = 5", "anomalies.monitor: is missing"),
        ('[alarms]\nsilent_meter = "kill"', "monthly_usd = 5", "alarms.silent_meter"),
        ("[notices]\nagain_minutes = 1", "monthly_usd = 5", "notices.again_minutes"),
        ("[notices]\nspike_percent = 100", "monthly_usd = 5", "notices.spike_percent"),
        ('[notices]\nowner_tag = "owner"', "monthly_usd = 5", "owner_tag and sender must be set together"),
        ('[live_drill]\nmodel = "claude"', "monthly_usd = 5", "must be the id of a model that supports CountTokens"),
    ],
)
def test_a_mistake_names_file_key_and_rule(loaded, text, budget, says):
    with pytest.raises(ConfigurationError) as error:
        loaded(text, budget)
    assert says in str(error.value)
    assert "g.toml: " in str(error.value)
