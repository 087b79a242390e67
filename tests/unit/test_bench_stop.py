"""The clock and the IAM that a stop is measured on."""

import pytest

from bench import stop
from bench.stop import BURST, CALL_SECONDS, WRITES_A_SECOND, Clock, measure, pool_of


def test_writes_beyond_the_burst_wait_for_the_rate_and_reads_never_do():
    clock = Clock()
    for _ in range(BURST + 100):
        clock.call(writes=True)
    assert clock.now == pytest.approx(100 / WRITES_A_SECOND, abs=1)
    before = clock.now
    clock.call(writes=False)
    assert clock.now == before + CALL_SECONDS


def test_a_pool_does_its_work_side_by_side_in_the_order_given():
    clock, done = Clock(limited=False), []

    def work(number: int) -> int:
        clock.call(writes=True)
        done.append(number)
        return number

    with pool_of(clock)(4) as pool:
        assert pool.map(work, range(10)) == list(range(10))
    assert done == list(range(10))
    assert clock.now == pytest.approx(3 * CALL_SECONDS)


def test_a_stop_of_the_armed_takes_two_writes_however_many_they_are():
    few, many = (measure(stop.ours, roles, armed=True) for roles in (1, 150))
    assert few["writes"] == many["writes"] == 2
    assert few["all_denied"] == many["all_denied"]


def test_a_sweep_takes_a_write_for_each_and_reaches_all():
    found = measure(stop.ours, 30, armed=False)
    assert found["writes"] == 30 + 2
    assert found["first_denied"] < found["denied_99_percent"] <= found["all_denied"] < found["reported"]


def test_the_peers_write_as_often_and_gain_by_a_pool_only_while_iam_takes_it():
    alone, pooled = (measure(work, 100, armed=False) for work in (stop.one_by_one, stop.eight_at_once))
    assert alone["writes"] == pooled["writes"] == 100
    free = [measure(work, 100, armed=False, limited=False) for work in (stop.one_by_one, stop.eight_at_once)]
    assert free[0]["all_denied"] > 5 * free[1]["all_denied"]
    assert alone["all_denied"] == pooled["all_denied"]
