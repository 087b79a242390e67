"""The sweep counts each call of a flow in each way to fail."""

from bench import crash


def test_a_flow_is_counted_point_by_point():
    figures = crash.sweep("arm", ["before"])
    assert figures["points"] == figures["calls"] == figures["converged"]
    assert 0 < figures["writes"] < figures["calls"]
    assert figures["silent"] == 0
