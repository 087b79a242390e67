"""What people are mailed: short lines, the most important first, and nothing that SNS refuses."""

from typing import Any

from lambdas.core.levels import Level
from lambdas.core.notice import (
    Links,
    SpendSummary,
    StopReport,
    release_notice,
    stop_notice,
)

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
SPEND = SpendSummary(
    findings=("$60.00 of $50/day, $64.00 with usage on its way",),
    burn="$1.00 a minute",
    models=("$60.00 today  us.anthropic.claude-opus-5 (us-east-1)",),
    guessed=("newco.colossus ($3.00 this month)",),
)

STOPPED = """\
Bedrock is stopped. 2 steps done; 2 principals were armed beforehand. OUT OF REACH: 1.

Why: $60.00 of $50/day
- $60.00 of $50/day, $64.00 with usage on its way
Burning $1.00 a minute.

Models, dearest first:
- $60.00 today  us.anthropic.claude-opus-5 (us-east-1)

Priced by guess (the dearest known price stands in):
- newco.colossus ($3.00 this month)

Done:
- switch bedrock-spend-brake to stop (v3)
- attach bedrock-spend-sweep to role/admin

NOT stopped, out of reach:
- arn:role: Identity Center role

Let it go on:
https://release
See how it stands:
https://status
Stop by hand when no Lambda works:
aws iam set-default
"""


def report(**changes: Any) -> StopReport:
    values: dict[str, Any] = {
        "level": Level.STOP,
        "reason": "$60.00 of $50/day",
        "enforced": True,
        "done": ("switch bedrock-spend-brake to stop (v3)", "attach bedrock-spend-sweep to role/admin"),
        "uncovered": {"arn:role": "Identity Center role"},
        "armed": 2,
        "verified": True,
    }
    return StopReport(**(values | changes))


def test_the_mail_about_a_stop():
    notice = stop_notice(report(), SPEND, LINKS)
    assert notice.subject == "Bedrock spend: STOPPED, 1 out of reach"
    assert notice.text == STOPPED


def test_a_stop_that_did_not_finish_says_so_first():
    notice = stop_notice(report(failed={"attach x": "Throttling"}), SPEND, LINKS)
    assert notice.subject == "Bedrock spend: NOT FULLY STOPPED, 1 out of reach"
    assert notice.text.startswith("Bedrock is NOT fully stopped: 1 steps failed.")


def test_report_only_says_that_nothing_was_touched():
    notice = stop_notice(report(enforced=False, verified=False), SPEND, LINKS)
    assert notice.subject == "Bedrock spend: would have STOPPED (report-only)"
    assert "nothing was touched" in notice.text
    assert "Would have done:" in notice.text


def test_a_long_list_is_cut_and_says_where_the_rest_is():
    notice = stop_notice(report(done=tuple(f"step {n}" for n in range(40))), SPEND, LINKS)
    assert "... and 28 more; the status function lists all" in notice.text


def test_a_subject_is_ascii_and_fits():
    subject = stop_notice(report(level=Level.STEP_DOWN), SPEND, LINKS).subject
    assert subject == "Bedrock spend: STEPPED DOWN, 1 out of reach"
    assert subject.isascii()
    assert len(subject) <= 100


def test_an_incomplete_figure_is_shown_as_a_lower_bound():
    notice = stop_notice(report(), SpendSummary(gaps=("eu-west-1: cannot be read",)), LINKS)
    assert "this is at least what was spent:\n- eu-west-1: cannot be read" in notice.text


def test_the_mail_about_a_release_and_about_one_that_did_not_finish():
    done = release_notice("fixed", "ada", ["switch"], {}, "$50 more until 22:30", LINKS)
    assert done.subject == "Bedrock spend: released"
    assert done.text.startswith("Released by ada: fixed\nAllowance: $50 more until 22:30\n")
    half = release_notice("fixed", "ada", [], {"detach x": "Throttling"}, None, LINKS)
    assert half.subject == "Bedrock spend: NOT FULLY released"
    assert "run release again" in half.text
