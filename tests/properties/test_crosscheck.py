"""Whatever the meter and the bill say: no false agreement, no dollar lost, and a factor that does what it says."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.crosscheck import Agreement, Bill, BilledDay, Charge, CrossCheck, MeteredDay, compare, match

FIRST = date(2028, 2, 26)
USD = st.decimals(min_value=0, max_value=10_000, places=4)
AMOUNT = st.decimals(min_value=-100, max_value=10_000, places=4)
MODELS = st.sampled_from(["amazon.nova-pro-v1:0", "us.anthropic.claude-opus-5-5", "a1b2c3", "openai.gpt-5.6-sol"])
LABELS = st.builds("{} ({})".format, MODELS, st.sampled_from(["us-east-1", "eu-west-1"]))
CHARGES = st.builds(
    Charge,
    st.sampled_from(["Amazon Bedrock", "Claude Opus 5.5 (Amazon Bedrock Edition)", "Amazon Bedrock AgentCore"]),
    st.sampled_from(["", "Nova Pro", "Claude Opus 5.5"]),
)
FACTORS = st.decimals(min_value="0.1", max_value=3, places=2)


@st.composite
def checks(draw: st.DrawFn) -> tuple[CrossCheck, list[MeteredDay], Bill, Decimal]:
    days = [FIRST + timedelta(days=number) for number in range(draw(st.integers(1, 7)))]
    metered = [
        MeteredDay(
            day, draw(st.dictionaries(LABELS, USD)), draw(st.dictionaries(st.sampled_from(["pt x", "job y"]), USD))
        )
        for day in days
        if draw(st.integers(0, 5))
    ]
    bill = Bill(
        [
            BilledDay(day, draw(st.dictionaries(CHARGES, AMOUNT)), draw(st.booleans()))
            for day in days
            if draw(st.integers(0, 5))
        ],
        draw(st.sampled_from([(), (), (), ("more pages",)])),
    )
    factor = draw(FACTORS)
    return compare(days[0], days[-1], metered=metered, bill=bill, factor=factor), metered, bill, factor


@st.composite
def drifting(draw: st.DrawFn) -> tuple[CrossCheck, Decimal, Decimal, Decimal]:
    """Seven days that drift one way, all by names both sides know, beside what stands by the hour."""
    ratio = draw(st.decimals(min_value="0.2", max_value=5, places=3))
    factor, hourly = draw(FACTORS), draw(st.decimals(min_value=0, max_value="0.2", places=2))
    tokens = draw(st.lists(st.decimals(min_value=50, max_value=1000, places=2), min_size=3, max_size=7))
    days = [(FIRST + timedelta(days=number), usd) for number, usd in enumerate(tokens)]
    metered = [MeteredDay(day, {"amazon.nova-pro-v1:0 (us-east-1)": usd}, {"pt": hourly}) for day, usd in days]
    bill = Bill([BilledDay(day, {Charge("Amazon Bedrock", "Nova Pro"): usd * ratio + hourly}) for day, usd in days])
    found = compare(days[0][0], days[-1][0], metered=metered, bill=bill, factor=factor)
    return found, sum(tokens, Decimal(0)), hourly * len(days), factor


@given(checks())
def test_a_drift_above_5_percent_is_never_called_agreement(case: tuple[CrossCheck, list[MeteredDay], Bill, Decimal]):
    found, *_ = case
    if found.agreement is Agreement.AGREES:
        assert found.days
        assert abs(found.total.meter - found.total.bill) * 20 <= found.total.bill
    if found.total.drift is not None and abs(found.total.drift) > 5:
        assert found.agreement is not Agreement.AGREES
    if found.total.bill == 0 < found.total.meter:
        assert found.agreement is not Agreement.AGREES


@given(checks())
def test_less_is_said_only_of_less_and_more_of_more(case: tuple[CrossCheck, list[MeteredDay], Bill, Decimal]):
    found, *_ = case
    if found.agreement is Agreement.LESS:
        assert found.total.meter < found.total.bill - 1
    if found.agreement is Agreement.MORE:
        assert found.total.meter > found.total.bill + 1


@given(checks())
def test_a_day_is_compared_or_left_out_with_a_reason(case: tuple[CrossCheck, list[MeteredDay], Bill, Decimal]):
    found, metered, bill, _ = case
    assert not set(found.days) & set(found.left_out)
    if bill.gaps:
        assert found.agreement is Agreement.INCOMPLETE
        assert found.factor is None
    else:
        known = {each.day for each in metered} & {each.day for each in bill.days if each.usd}
        assert set(found.days) <= known


@given(checks())
def test_every_dollar_of_the_days_compared_is_listed_once(case: tuple[CrossCheck, list[MeteredDay], Bill, Decimal]):
    found, *_ = case
    listed = sum((pair.meter for pair in found.models.values()), Decimal(0)) + sum(found.only_metered.values())
    assert listed == found.total.meter
    listed = sum((pair.bill for pair in found.models.values()), Decimal(0)) + sum(found.only_billed.values())
    assert listed == found.total.bill


@given(drifting())
def test_the_factor_makes_the_meter_read_what_the_bill_says(case: tuple[CrossCheck, Decimal, Decimal, Decimal]):
    found, tokens, standing, in_force = case
    if found.factor is None:
        assert not found.agreement.drifts or found.no_factor
        return
    # The meter's tokens have the factor in force in them already.
    calibrated = tokens / in_force * found.factor + standing
    assert abs(calibrated - found.total.bill) < Decimal("1e-15") * found.total.bill
    shown = tokens / in_force * Decimal(found.shown_factor) + standing
    assert shown >= found.total.bill - Decimal("1e-9")


@given(st.decimals(min_value="1.1", max_value=9, places=2), st.booleans())
def test_a_steady_drift_of_known_names_is_offered_a_factor(ratio: Decimal, less: bool):
    usd = Decimal(100)
    billed = usd * ratio if less else usd / ratio
    days = [FIRST + timedelta(days=number) for number in range(7)]
    metered = [MeteredDay(day, {"amazon.nova-pro-v1:0 (us-east-1)": usd}, {}) for day in days]
    bill = Bill([BilledDay(day, {Charge("Amazon Bedrock", "Nova Pro"): billed}) for day in days])
    found = compare(days[0], days[-1], metered=metered, bill=bill, factor=Decimal(1))
    assert found.agreement is (Agreement.LESS if less else Agreement.MORE)
    assert found.factor is not None
    assert abs(found.factor - billed / usd) < Decimal("1e-20")


@given(st.dictionaries(LABELS, USD), st.dictionaries(CHARGES, AMOUNT))
def test_what_is_paired_says_the_same_on_both_sides(models: dict[str, Decimal], charges: dict[Charge, Decimal]):
    pairs, *_ = match(models, {}, charges)
    for name in pairs:
        charge, _, ids = name.partition(" = ")
        assert ("Opus 5.5" in charge and ids == "us.anthropic.claude-opus-5-5") or (
            charge == "Nova Pro" and ids == "amazon.nova-pro-v1:0"
        )


@given(st.lists(st.dictionaries(CHARGES, AMOUNT), min_size=1, max_size=3), st.dictionaries(CHARGES, AMOUNT))
def test_splitting_by_model_never_changes_what_a_day_cost(
    days: list[dict[Charge, Decimal]], finer: dict[Charge, Decimal]
):
    # Cost Explorer names a model or not; the first request never does.
    coarse = [
        BilledDay(FIRST + timedelta(days=number), {Charge(each.service): usd for each, usd in day.items()})
        for number, day in enumerate(days)
    ]
    split = Bill(coarse).with_models(Bill([BilledDay(FIRST, finer)]))
    assert [sum(each.usd.values()) for each in split.days] == [sum(each.usd.values()) for each in coarse]
