"""The stand-in that the meter's speed is measured against speaks CloudWatch's protocol, page by page."""

import math
import threading
from collections.abc import Iterator
from multiprocessing import Pipe

import pytest

from bench import meter
from bench.meter import METRICS, NOW, _bare, _clients, _full_read
from lambdas.core.windows import Window


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(meter, "CALL_SECONDS", 0.0)
    ours, theirs = Pipe()
    threading.Thread(target=meter.serve, args=(130, theirs), daemon=True).start()
    yield ours.recv()
    ours.close()


def test_the_real_client_lists_all_metrics_of_a_region_in_pages(port: int):
    pages = list(_clients(port)("region-0").get_paginator("list_metrics").paginate(Namespace="AWS/Bedrock"))
    assert [len(page["Metrics"]) for page in pages] == [500, 130 * len(METRICS) - 500]


def test_a_full_read_finds_every_series_without_a_gap_and_what_it_did_can_be_done_again_bare(port: int):
    calls: list[meter.Call] = []
    since = Window.HOUR.start(NOW)
    found = _full_read(port, 1, since, calls)
    assert found["series"] == 130 * len(METRICS)
    assert found["gaps"] == []
    assert found["usd"] > 0
    queries = sum(len(params["MetricDataQueries"]) for _, name, params in calls if name == "GetMetricData")
    assert queries >= found["series"]
    assert math.isfinite(_bare(port, calls, 2)["seconds"])
