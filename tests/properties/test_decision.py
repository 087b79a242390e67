"""Invariant 6: more spend never loosens a verdict, nor does an incomplete figure or a slower reaction."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.decision import decide
from lambdas.core.limits import Allowance, Ladder, Limit, Verdict, raised_usd
from lambdas.core.spend import Spend
from lambdas.core.windows import Window

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)

money = st.decimals(min_value=0, max_value=10**7, places=4)
limits = st.lists(
    st.builds(
        Limit,
        st.sampled_from(Window),
        st.decimals(min_value="0.01", max_value=10**6, places=2),
        st.builds(
            Ladder,
            st.none() | st.decimals(min_value=1, max_value=49, places=0),
            st.none() | st.decimals(min_value=50, max_value=99, places=0),
        ),
    ),
    min_size=1,
    max_size=5,
)
allowances = st.lists(
    st.builds(
        Allowance,
        st.decimals(min_value=1, max_value=10**4, places=2),
        st.datetimes(datetime(2026, 11, 22), datetime(2026, 11, 23)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
        st.just("r"),
        st.just("b"),
        st.none() | st.sampled_from(Window),
    ),
    max_size=3,
)


def spend(amounts: tuple[Decimal, Decimal, Decimal, Decimal], gaps: tuple[str, ...] = ()) -> Spend:
    burn, hour, day, month = amounts
    return Spend(NOW, burn, {Window.HOUR: hour, Window.DAY: day, Window.MONTH: month}, {}, {}, gaps)


four = st.tuples(money, money, money, money)


@given(less=four, more=four, limits=limits, allowances=allowances, minutes=st.integers(0, 60))
def test_more_spend_never_loosens_a_verdict(less, more, limits, allowances, minutes):
    larger = tuple(max(a, b) for a, b in zip(less, more, strict=True))
    reaction = timedelta(minutes=minutes)
    before = decide(spend(less), limits, allowances, Verdict.OK, reaction, NOW)
    after = decide(spend(larger), limits, allowances, Verdict.OK, reaction, NOW)
    assert after.verdict >= before.verdict


@given(amounts=four, limits=limits, previous=st.sampled_from(Verdict))
def test_an_incomplete_figure_never_lowers_a_verdict(amounts, limits, previous):
    incomplete = decide(spend(amounts, ("gap",)), limits, (), previous, timedelta(minutes=4), NOW)
    complete = decide(spend(amounts), limits, (), previous, timedelta(minutes=4), NOW)
    assert incomplete.verdict == max(previous, complete.verdict)


@given(amounts=four, limits=limits, faster=st.integers(0, 60), slower=st.integers(0, 60))
def test_a_slower_reaction_never_loosens_a_verdict(amounts, limits, faster, slower):
    quick, slow = sorted((faster, slower))
    verdicts = [
        decide(spend(amounts), limits, (), Verdict.OK, timedelta(minutes=each), NOW).verdict for each in (quick, slow)
    ]
    assert verdicts[0] <= verdicts[1]


@given(limits=limits, granted=allowances, more=allowances)
def test_an_allowance_never_lowers_a_limit_and_an_expired_one_changes_nothing(limits, granted, more):
    for limit in limits:
        raised = raised_usd(limit, granted, NOW)
        assert limit.usd <= raised <= raised_usd(limit, [*granted, *more], NOW)
        assert raised == raised_usd(limit, [each for each in granted if each.until > NOW], NOW)


@given(amounts=four, limits=limits, granted=allowances, previous=st.sampled_from(Verdict))
def test_an_allowance_never_calls_for_more(amounts, limits, granted, previous):
    with_it, without = (
        decide(spend(amounts), limits, each, previous, timedelta(minutes=4), NOW) for each in (granted, ())
    )
    assert with_it.verdict <= without.verdict
