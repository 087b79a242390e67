"""The meter against the bill: the verdict, the names, the factor that is offered, and the mail."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core.crosscheck import (
    Agreement,
    Bill,
    BilledDay,
    Charge,
    CrossCheck,
    MeteredDay,
    Pair,
    compare,
    days_to_compare,
    is_due,
    match,
)
from lambdas.core.notice import Links, crosscheck_notice

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
FIRST, LAST = date(2026, 11, 13), date(2026, 11, 19)
OPUS_ID = "us.anthropic.claude-opus-5-5 (us-east-1)"
OPUS = "Claude Opus 5.5 (Amazon Bedrock Edition)"
ONE = Decimal(1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def metered(*usd: float | str, standing: Mapping[str, Decimal] | None = None) -> list[MeteredDay]:
    return [MeteredDay(day(number), {OPUS_ID: Decimal(each)}, standing or {}) for number, each in enumerate(usd)]


def billed(*usd: float | str | None, estimated: tuple[bool, ...] = ()) -> Bill:
    flags = estimated or (False,) * len(usd)
    return Bill(
        [
            BilledDay(day(number), {} if each is None else {Charge(OPUS): Decimal(each)}, flag)
            for number, (each, flag) in enumerate(zip(usd, flags, strict=True))
        ]
    )


def check(meter: list[MeteredDay], bill: Bill, factor: Decimal = ONE, **more: Any) -> CrossCheck:
    last = FIRST + timedelta(days=max(len(meter), len(bill.days)) - 1)
    return compare(FIRST, last, metered=meter, bill=bill, factor=factor, **more)


# --- which days --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        ("2026-11-22T18:30:20+00:00", "2026-11-13", "2026-11-19"),
        # The 19th ended 48 hours ago to the second.
        ("2026-11-22T00:00:00+00:00", "2026-11-13", "2026-11-19"),
        ("2026-11-21T23:59:59+00:00", "2026-11-12", "2026-11-18"),
        ("2026-03-04T12:00:00+00:00", "2026-02-23", "2026-03-01"),
        ("2028-03-03T12:00:00+00:00", "2028-02-23", "2028-02-29"),
        ("2027-01-03T08:00:00+09:00", "2026-12-24", "2026-12-30"),
    ],
)
def test_the_seven_newest_days_that_ended_48_hours_ago_are_compared(now: str, first: str, last: str):
    found = days_to_compare(datetime.fromisoformat(now))
    assert found == (date.fromisoformat(first), date.fromisoformat(last))


# --- the verdict -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meter", "bill", "agreement"),
    [
        (("100", "100"), ("100", "100"), Agreement.AGREES),
        (("95", "95"), ("100", "100"), Agreement.AGREES),
        (("105", "105"), ("100", "100"), Agreement.AGREES),
        (("94.99", "95"), ("100", "100"), Agreement.LESS),
        (("105", "105.01"), ("100", "100"), Agreement.MORE),
        # A dollar is nobody's mail, though it is not called agreement either.
        (("0.50", "0.50"), ("1", "1"), Agreement.CENTS),
        (("0.49", "0.50"), ("1", "1"), Agreement.LESS),
        (("5", "0"), ("0", "0"), Agreement.MORE),
        (("0", "0"), ("5", "0"), Agreement.LESS),
        (("0", "0"), ("0", "0"), Agreement.AGREES),
        # What one day has and the next lacks is the edge between days, not drift.
        (("80", "120"), ("120", "80"), Agreement.AGREES),
        # The mistake of units of July 2026, on all days and on one.
        (("10", "10"), ("10000", "10000"), Agreement.IMPLAUSIBLE),
        (("10", "10"), ("10", "10000"), Agreement.IMPLAUSIBLE),
        (("10", "10"), ("9e12", "9e12"), Agreement.IMPLAUSIBLE),
        (("10", "10"), ("9999", "9999"), Agreement.LESS),
        # Next to nothing metered, and something dear on the bill: believed.
        (("0", "0.02"), ("480", "480"), Agreement.LESS),
    ],
)
def test_the_verdict(meter: tuple[str, ...], bill: tuple[str, ...], agreement: Agreement):
    assert check(metered(*meter), billed(*bill)).agreement is agreement


def test_the_drift_is_in_percent_of_the_bill_by_day_and_over_the_days():
    body = check(metered("90", "50"), billed("100", "100")).to_json()
    assert (body["meter_usd"], body["bill_usd"], body["drift_percent"]) == ("140.00", "200.00", "-30.0")
    assert {when: each["drift_percent"] for when, each in body["days"].items()} == {
        "2026-11-13": "-10.0",
        "2026-11-14": "-50.0",
    }


def test_a_bill_without_a_figure_for_a_day_is_unknown_and_the_day_is_left_out_by_name():
    found = check(metered("10", "10", "10"), billed("10", None, "10"))
    assert found.agreement is Agreement.AGREES
    assert found.total.meter == 20
    assert found.left_out == {day(1): "Cost Explorer has no figure; the meter has $10.00"}


def test_a_bill_of_zero_is_a_figure():
    found = check(metered("10"), billed("0"))
    assert found.agreement is Agreement.MORE
    assert found.left_out == {}
    assert found.to_json()["drift_percent"] is None


def test_a_bill_without_any_figure_is_no_agreement():
    found = check(metered("0", "0"), billed(None, None))
    assert found.agreement is Agreement.NOTHING
    assert len(found.left_out) == 2


def test_days_the_meter_has_not_closed_are_left_out_by_name():
    found = compare(FIRST, LAST, metered=metered("10"), bill=billed("10", "99"), factor=ONE)
    assert list(found.days) == [FIRST]
    assert found.left_out == {day(n): "the meter has not closed the whole day" for n in range(1, 7)}


def test_days_aws_may_still_change_are_left_out_where_others_are_final():
    found = check(metered("10", "10", "10"), billed("10", "10", "3", estimated=(False, False, True)))
    assert found.agreement is Agreement.AGREES
    assert found.left_out == {day(2): "AWS may still change it"}


def test_in_a_month_aws_has_not_closed_all_days_are_estimates_and_compared():
    found = check(metered("10", "10"), billed("20", "20", estimated=(True, True)))
    assert found.agreement is Agreement.LESS
    assert found.left_out == {}


def test_discounts_count_and_a_negative_day_is_left_out():
    bill = Bill(
        [
            BilledDay(day(0), {Charge(OPUS): Decimal(12), Charge("Amazon Bedrock"): Decimal(-2)}),
            BilledDay(day(1), {Charge(OPUS): Decimal(1), Charge("Amazon Bedrock"): Decimal(-2)}),
        ]
    )
    found = check(metered("10", "10"), bill)
    assert found.agreement is Agreement.AGREES
    assert found.left_out == {day(1): "the bill is negative ($-1.00)"}


def test_of_a_bill_that_was_not_read_whole_no_verdict_is_drawn():
    bill = Bill(billed("100", "100").days, ("more pages",))
    for meter in ("1", "100", "500"):
        found = check(metered(meter, meter), bill)
        assert found.agreement is Agreement.INCOMPLETE
        assert found.notes == ("more pages",)
        assert (found.factor, dict(found.days)) == (None, {})


def test_what_stands_by_the_hour_counts_with_the_meter():
    found = check(metered("60", "60", standing={"provisioned throughput x (us-east-1)": Decimal(40)}), billed(100, 100))
    assert found.agreement is Agreement.AGREES
    assert found.only_metered == {"provisioned throughput x (us-east-1)": 80}


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "charge"),
    [
        ("us.anthropic.claude-opus-5-5", "Claude Opus 5.5 (Amazon Bedrock Edition)"),
        ("global.anthropic.claude-opus-5-5-v1:0", "Claude Opus 5.5"),
        ("anthropic.claude-sonnet-4-6", "Claude 4.6 Sonnet (Amazon Bedrock Edition)"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5 (Amazon Bedrock Edition)"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "Claude 3.5 Sonnet v2 (Amazon Bedrock Edition)"),
        ("anthropic.claude-3-haiku-20240307-v1:0:200k", "Claude 3 Haiku (Amazon Bedrock Edition)"),
        ("openai.gpt-5.6-sol", "OpenAI GPT-5.6 Sol (Amazon Bedrock Edition)"),
        ("gpt-5.6-sol", "GPT-5.6 Sol"),
        ("openai.gpt-oss-120b-1:0", "gpt-oss-120b"),
        ("us.amazon.nova-pro-v1:0", "Nova Pro"),
        ("amazon.nova-2-lite-v1:0", "Amazon Nova 2 Lite"),
        ("us.meta.llama4-maverick-17b-instruct-v1:0", "Llama 4 Maverick 17B"),
        ("meta.llama3-3-70b-instruct-v1:0", "Llama 3.3 Instruct (70B)"),
        ("deepseek.r1-v1:0", "DeepSeek-R1"),
        ("moonshotai.kimi-k3", "Kimi K3"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "Nova Pro"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-opus-5",
            "Claude Opus 5 (Amazon Bedrock Edition)",
        ),
    ],
)
def test_a_name_that_says_the_same_words_is_the_same_model(model: str, charge: str):
    pairs, only_billed, only_metered = match({f"{model} (us-east-1)": ONE}, {}, {Charge(charge): ONE})
    assert list(pairs) == [f"{charge} = {model}"]
    assert (only_billed, only_metered) == ({}, {})


@pytest.mark.parametrize(
    ("model", "charge"),
    [
        ("openai.gpt-5.6-sol", "OpenAI GPT-6.5 Sol (Amazon Bedrock Edition)"),
        ("anthropic.claude-opus-5", "Claude Opus 5.5 (Amazon Bedrock Edition)"),
        ("anthropic.claude-opus-5-5", "Claude Sonnet 5.5 (Amazon Bedrock Edition)"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "Claude 3.5 Sonnet (Amazon Bedrock Edition)"),
        ("amazon.nova-pro-v1:0", "Amazon Bedrock"),
        ("a1b2c3d4e5f6", "Claude Opus 5.5 (Amazon Bedrock Edition)"),
        ("not listed yet", "Nova Pro"),
        ("mistral.mistral-large-3-675b-instruct", "Mistral Large 3"),
    ],
)
def test_names_that_say_something_else_are_never_forced_together(model: str, charge: str):
    pairs, only_billed, only_metered = match({f"{model} (us-east-1)": ONE}, {}, {Charge(charge): ONE})
    assert (pairs, only_billed, only_metered) == ({}, {charge: ONE}, {model: ONE})


def test_a_name_that_could_mean_two_models_is_paired_with_neither():
    meter = {"nova.pro (us-east-1)": ONE, "pro.nova (us-east-1)": ONE}
    pairs, only_billed, only_metered = match(meter, {}, {Charge("Nova Pro"): ONE})
    assert pairs == {}
    assert (set(only_billed), set(only_metered)) == ({"Nova Pro"}, {"nova.pro", "pro.nova"})


def test_one_model_in_two_regions_and_under_two_names_is_one():
    meter = {
        "us.anthropic.claude-opus-5-5 (us-east-1)": Decimal(1),
        "us.anthropic.claude-opus-5-5 (us-west-2)": Decimal(2),
        "eu.anthropic.claude-opus-5-5 (eu-central-1)": Decimal(4),
    }
    pairs, *_ = match(meter, {}, {Charge(OPUS): Decimal(7)})
    assert list(pairs.values()) == [Pair(Decimal(7), Decimal(7))]


def test_a_profile_goes_by_the_model_behind_it_when_that_is_one():
    def behind(model: str) -> tuple[str, ...]:
        one = ("anthropic.claude-opus-5-5", "us.anthropic.claude-opus-5-5")
        return {"a1b2c3": one, "router": (*one, "amazon.nova-pro-v1:0")}.get(model, (model,))

    meter = {"a1b2c3 (us-east-1)": Decimal(3), "router (us-east-1)": Decimal(2)}
    pairs, only_billed, only_metered = match(meter, {}, {Charge(OPUS): Decimal(4)}, behind)
    assert pairs == {f"{OPUS} = a1b2c3": Pair(Decimal(3), Decimal(4))}
    assert only_billed == {}
    assert only_metered == {"router": 2}


def test_models_split_a_service_and_the_rest_keeps_its_name_and_all_its_dollars():
    coarse = {Charge("Amazon Bedrock"): Decimal(10), Charge(OPUS): Decimal(5), Charge("Amazon Bedrock AgentCore"): ONE}
    fine = {Charge("Amazon Bedrock"): ONE, Charge("Amazon Bedrock", "Nova Pro"): Decimal(8)}
    (split,) = Bill([BilledDay(FIRST, coarse)]).with_models(Bill([BilledDay(FIRST, fine)])).days
    assert split.usd == {
        Charge("Amazon Bedrock", "Nova Pro"): 8,
        Charge("Amazon Bedrock"): 2,
        Charge(OPUS): 5,
        Charge("Amazon Bedrock AgentCore"): 1,
    }


# --- the factor --------------------------------------------------------------------------------------------------


def test_a_factor_is_offered_on_top_of_the_one_in_force():
    found = check(metered("10", "10", "10"), billed("9", "9", "9.9"), factor=Decimal("0.8"))
    assert found.agreement is Agreement.MORE
    assert found.factor == Decimal("0.744")
    assert found.shown_factor == "0.744"


def test_a_shown_factor_is_rounded_up_so_that_it_never_makes_the_meter_read_less():
    found = check(metered("3", "3", "3"), billed("2", "2", "2"))
    assert found.shown_factor == "0.6667"


def test_what_stands_by_the_hour_is_not_scaled():
    standing = {"marketplace endpoint x (us-east-1)": Decimal("0.10")}
    found = check(metered("10", "10", "10", standing=standing), billed("20.1", "20.1", "20.1"))
    assert found.factor == 2


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (check(metered("10", "10"), billed("20", "20")), "fewer than 3 days"),
        (check(metered("10", "10", "10", "10"), billed("9", "9", "30", "9")), "do not drift the same way"),
        (check(metered("10", "10", "10"), billed("200", "200", "200")), "10-fold"),
        (check(metered("100", "100", "100"), billed("0", "0", "0")), "10-fold"),
        (check(metered("0", "0", "0"), billed("9", "9", "9")), "10-fold"),
        (check(metered("10", "10", "10"), billed("20", "20", "20"), standing_known=False), "not known"),
        (
            check(
                metered("10", "10", "10"),
                Bill(
                    [
                        BilledDay(day(n), {Charge("Amazon Bedrock AgentCore"): Decimal(9), Charge(OPUS): Decimal(10)})
                        for n in range(3)
                    ]
                ),
            ),
            r"\$27.00 is on one side alone",
        ),
    ],
)
def test_where_a_factor_would_mislead_none_is_offered_and_it_is_said_why(found: CrossCheck, why: str):
    assert found.agreement.drifts
    assert found.factor is None
    assert why.replace("\\", "") in found.no_factor
    assert found.to_json()["factor_offered"] is None


def test_an_implausible_bill_offers_no_factor():
    found = check(metered("10", "10", "10"), billed("10000", "10000", "10000"))
    assert (found.factor, found.shown_factor) == (None, "")


# --- telling -----------------------------------------------------------------------------------------------------


NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("found", "before", "due"),
    [
        (check(metered("10"), billed("10")), None, False),
        (check(metered("1"), billed("1.5")), None, False),
        (check(metered("10"), billed("20")), None, True),
        (check(metered("10"), billed("20")), {"agreement": Agreement.LESS, "told": "2026-11-21T18:30:00+00:00"}, True),
        (check(metered("10"), billed("90000")), {"agreement": Agreement.IMPLAUSIBLE, "told": None}, True),
        (check(metered("20"), billed("10")), None, True),
        (check(metered("20"), billed("10")), {"agreement": Agreement.MORE, "told": "2026-11-16T18:30:00+00:00"}, False),
        (check(metered("20"), billed("10")), {"agreement": Agreement.MORE, "told": "2026-11-15T18:30:00+00:00"}, True),
        (check(metered("20"), billed("10")), {"agreement": Agreement.MORE, "told": None}, True),
        (check(metered("20"), billed("10")), {"agreement": Agreement.LESS, "told": "2026-11-21T18:30:00+00:00"}, True),
    ],
)
def test_what_is_dangerous_is_told_daily_and_a_meter_that_reads_more_once_a_week(
    found: CrossCheck, before: dict[str, Any] | None, due: bool
):
    assert is_due(found, before, NOW) is due


MAIL = """\
Meter and bill: the meter reads less than the bill: meter $30.00, bill $45.00 (-33.3 %). 2026-11-13 to 2026-11-15.
Limits trip later than they should, by as much.

Day by day:
- 2026-11-13: meter $10.00, bill $15.00
- 2026-11-14: meter $10.00, bill $15.00
- 2026-11-15: meter $10.00, bill $15.00

Models, the largest difference first:
- Claude Opus 5.5 (Amazon Bedrock Edition) = us.anthropic.claude-opus-5-5: meter $30.00, bill $45.00

Not compared:
- 2026-11-16: the meter has not closed the whole day

Mind:
- a note

prices.factor = 1.5 in guardrail.toml would make them agree.
Nothing is changed until you set it and deploy. It scales every price but the overrides.

Nothing was stopped. Stop now:
https://kill
See how it stands:
https://status
Stop by hand when no Lambda works:
aws iam set-default
"""


def test_the_mail_about_a_meter_that_reads_less():
    found = check(metered("10", "10", "10"), billed("15", "15", "15", "15"), notes=("a note",))
    notice = crosscheck_notice(found, LINKS)
    assert notice.subject == "Bedrock spend: the meter reads LESS than the bill"
    assert notice.text == MAIL


def test_the_mail_about_a_meter_that_reads_more_and_about_an_implausible_bill():
    more = crosscheck_notice(check(metered("20"), billed("10")), LINKS)
    assert more.subject == "Bedrock spend: the meter reads more than the bill"
    assert "No factor is offered: fewer than 3 days are compared." in more.text
    absurd = crosscheck_notice(check(metered("20"), billed("2e12")), LINKS)
    assert absurd.subject == "Bedrock spend: the bill looks implausible"
    assert "prices.factor" not in absurd.text
    assert "https://kill" in absurd.text


def test_the_mail_lists_under_its_own_name_what_has_no_match():
    bill = Bill([BilledDay(FIRST, {Charge("Amazon Bedrock"): Decimal(30)})])
    text = crosscheck_notice(check(metered("10"), bill), LINKS).text
    assert "On the bill alone, by these names:\n- $30.00 Amazon Bedrock\n" in text
    assert "With the meter alone, by these names:\n- $10.00 us.anthropic.claude-opus-5-5\n" in text
