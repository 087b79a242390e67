"""[arming] in guardrail.toml: what it may say, and that the functions are told."""

import pytest

from lambdas import settings
from lambdas.core.arming import ArmingRule, ArmMode
from stacks.configuration import ConfigurationError, load

MINIMAL = 'mode = "enforce"\n[limits]\nday = 5\n[budget]\nmonthly_usd = 5\n'

HEEDED_RULE = 'listed is heeded with mode = "listed" alone; in the others, tag whom you want armed too'
NAME_RULE = 'must be "role/NAME" or "user/NAME", the path included; * and ? are allowed, but not alone'


@pytest.fixture
def write(tmp_path):
    def _write(arming):
        file = tmp_path / "guardrail.toml"
        file.write_text(MINIMAL + arming, encoding="utf-8")
        return file

    return _write


@pytest.mark.parametrize(
    ("arming", "rule"),
    [
        ("", ArmingRule()),
        ('[arming]\nmode = "named"\n', ArmingRule()),
        ('[arming]\nmode = "all"\n', ArmingRule(ArmMode.ALL)),
        ('[arming]\nmode = "listed"\n', ArmingRule(ArmMode.LISTED)),
        (
            '[arming]\nmode = "listed"\nlisted = ["role/x*", "user/team/y"]\n',
            ArmingRule(ArmMode.LISTED, ("role/x*", "user/team/y")),
        ),
    ],
)
def test_what_is_configured_reaches_the_functions(arming, rule, write):
    configured = load(write(arming)).settings
    assert configured.arming == rule
    assert settings.read({settings.VARIABLE: configured.to_json()}).arming == rule
    assert ('"arming"' in configured.to_json()) is (rule != ArmingRule())


@pytest.mark.parametrize(
    ("arming", "line"),
    [
        ('mode = "some"', "arming.mode = \"some\": Input should be 'named', 'all' or 'listed'"),
        (
            'mode = "all"\nlisted = ["role/x"]',
            f'arming = {{mode = "all", listed = ["role/x"]}}: {HEEDED_RULE}',
        ),
        (
            'mode = "listed"\nlisted = ["x"]',
            f'arming.listed[0] = "x": {NAME_RULE}',
        ),
        (
            'mode = "listed"\nlisted = ["role/x", "role/x"]',
            'arming.listed = ["role/x", "role/x"]: must not name anything twice (role/x)',
        ),
        ("names = []", "arming.names = []: is no key of this file"),
    ],
)
def test_a_mistake_is_told_in_one_line(arming, line, write):
    file = write(f"[arming]\n{arming}\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert str(caught.value) == f"{file}: {line}"


def test_a_mode_nobody_knows_is_refused_by_the_functions():
    with pytest.raises(ValueError, match="sometimes"):
        ArmingRule.from_json({"mode": "sometimes"})
