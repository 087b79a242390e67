"""What one full read takes: the real boto3 client, reader and pricing against CloudWatch on loopback, 50 ms a call.

``python -m bench.meter [--out out/bench]`` writes ``out/bench/meter.json``. Each measurement has a process of its
own; beside it the very same calls are made bare, one after the other and with as many threads as the meter has.
"""

import argparse
import json
import math
import multiprocessing
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from bench import report
from lambdas.aws.calls import QUICK
from lambdas.aws.cloudwatch import TokenMetrics
from lambdas.core.prices import PriceTable
from lambdas.core.spend import priced, spend_of
from lambdas.core.usage import Source
from lambdas.core.windows import Window

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
CALL_SECONDS = 0.05
THREADS = 10
METRICS = ("InputTokenCount", "OutputTokenCount", "CacheReadInputTokenCount", "CacheWriteInputTokenCount")
FLEET = (10, 200)
"""Regions, and models in each."""
GROWTH = (1, 10, 100, 1000)
"""Models in one region."""
OPEN_HOURS = 2
"""Hours before the open one that are not closed yet: what the meter reads when all goes well."""
_METRICS_A_PAGE, _DATAPOINTS_A_PAGE = 500, 100_800


# --- the server: CloudWatch's wire protocol, AWS JSON 1.0 --------------------------------------------------------


def serve(models: int, port: Connection) -> None:
    """Answer as CloudWatch with so many models in every region, each used in each minute; send the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            """Answer a call after the time it takes."""
            began = time.monotonic()
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            listing = self.headers["X-Amz-Target"].endswith(".ListMetrics")
            answer = _listed(models, request) if listing else _read(request)
            time.sleep(max(0.0, CALL_SECONDS - (time.monotonic() - began)))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


def _listed(models: int, request: Mapping[str, Any]) -> bytes:
    count = models * len(METRICS) if request["Namespace"] == "AWS/Bedrock" else 0
    first = int(request.get("NextToken", 0))
    last = min(first + _METRICS_A_PAGE, count)
    page: dict[str, Any] = {
        "Metrics": [
            {
                "Namespace": "AWS/Bedrock",
                "MetricName": METRICS[index % len(METRICS)],
                "Dimensions": [{"Name": "ModelId", "Value": f"amazon.nova-model-{index // len(METRICS)}-v1:0"}],
            }
            for index in range(first, last)
        ]
    }
    return json.dumps(page | ({"NextToken": str(last)} if last < count else {})).encode()


def _read(request: Mapping[str, Any]) -> bytes:
    start, end = float(request["StartTime"]), min(float(request["EndTime"]), NOW.timestamp())
    queries = request["MetricDataQueries"]
    first = int(request.get("NextToken", 0))
    points = max(math.ceil((end - start) / query["MetricStat"]["Period"]) for query in queries)
    last = min(first + max(_DATAPOINTS_A_PAGE // points, 1), len(queries))
    results = ",".join(
        f'{{"Id":"{query["Id"]}","StatusCode":"Complete",{_datapoints(start, end, query["MetricStat"]["Period"])}}}'
        for query in queries[first:last]
    )
    more = f',"NextToken":"{last}"' if last < len(queries) else ""
    return f'{{"MetricDataResults":[{results}]{more}}}'.encode()


@lru_cache(maxsize=64)
def _datapoints(start: float, end: float, period: int) -> str:
    """Return timestamps and values, the newest first; the same for every series, so that serving costs little."""
    count = math.ceil((end - start) / period)
    stamps = json.dumps([start + index * period for index in reversed(range(count))])
    return f'"Timestamps":{stamps},"Values":{json.dumps([1000.0 + index for index in range(count)])}'


# --- the measured processes --------------------------------------------------------------------------------------

Call = tuple[str, str, dict[str, Any]]
"""Region, operation (``GetMetricData``), parameters."""


def _clients(port: int) -> "Callable[[str], CloudWatchClient]":
    @cache
    def client_in(region: str) -> "CloudWatchClient":
        return boto3.client(
            "cloudwatch",
            region_name=region,
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="loopback",
            aws_secret_access_key="loopback",  # noqa: S106 - no secret
            config=QUICK,
        )

    return client_in


def _regions(count: int) -> list[str]:
    return [f"region-{index}" for index in range(count)]


def _full_read(port: int, regions: int, since: datetime, calls: list[Call]) -> dict[str, Any]:
    """Read and price everything once, and note the calls that takes."""
    client_in = _clients(port)
    sources = [Source(region, plane) for region in _regions(regions) for plane in ("AWS/Bedrock", "AWS/BedrockMantle")]
    for region in _regions(regions):
        client = client_in(region)

        def note(params: dict[str, Any], model: Any, region: str = region, **_: object) -> None:  # noqa: ANN401 - botocore's
            calls.append((region, model.name, dict(params)))

        client.meta.events.register("provide-client-params.cloudwatch", note)
    prices = PriceTable.load()
    metrics = TokenMetrics(client_in)

    def read() -> dict[str, Any]:
        series, gaps = metrics.listed(sources)
        reading = metrics.read(series, dict.fromkeys(sources, since), NOW)
        spend = spend_of(priced(reading, prices, lambda model: (model,)), (), None)
        return {
            "series": len(series),
            "gaps": [*gaps.values(), *spend.gaps],
            "usd": float(round(spend.by_window[Window.MONTH], 2)),
        }

    return _measured(read)


def _bare(port: int, calls: Sequence[Call], threads: int) -> dict[str, Any]:
    """Make calls without doing anything with their answers."""
    client_in = _clients(port)
    clients = {region: client_in(region) for region in sorted({region for region, _, _ in calls})}

    def call(each: Call) -> None:
        region, operation, params = each
        if operation == "ListMetrics":
            clients[region].list_metrics(**params)
        else:
            clients[region].get_metric_data(**params)

    def make_all() -> dict[str, Any]:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(call, calls))
        return {}

    return _measured(make_all)


def _measured(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    before = _peak_mb()
    began = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - began
    return found | {"seconds": round(seconds, 3), "peak_mb": _peak_mb(), "idle_mb": before}


def _peak_mb() -> float:
    """Return the most memory this process has had resident, as Linux counts it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024, 1)


def measure(mode: str, port: int, regions: int, hours: int, calls_file: Path) -> dict[str, Any]:
    """Do one measurement: ``meter``, which leaves its calls in a file, ``bare`` or ``bare in threads``."""
    since = max(Window.HOUR.start(NOW) - timedelta(hours=hours), Window.MONTH.start(NOW))
    match mode:
        case "meter":
            calls: list[Call] = []
            found = _full_read(port, regions, since, calls)
            calls_file.write_bytes(pickle.dumps(calls))
            return found | {"calls": len(calls)}
        case _:
            recorded: Sequence[Call] = pickle.loads(calls_file.read_bytes())  # noqa: S301 - our own file
            return _bare(port, recorded, THREADS if mode == "bare in threads" else 1)


# --- the bench ---------------------------------------------------------------------------------------------------


def compared(regions: int, models: int, hours: int) -> dict[str, Any]:
    """Measure a full read beside the same calls made bare, each in a fresh process."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(models, theirs), daemon=True)
    server.start()
    port = ours.recv()
    try:
        with tempfile.TemporaryDirectory() as folder:
            meter = _in_fresh_process("meter", port, regions, hours, folder)
            bare = _in_fresh_process("bare", port, regions, hours, folder)
            threads = _in_fresh_process("bare in threads", port, regions, hours, folder)
    finally:
        server.terminate()
        server.join()
    return {
        "regions": regions,
        "models_a_region": models,
        "series": meter["series"],
        "calls": meter["calls"],
        "gaps": meter["gaps"],
        "seconds": meter["seconds"],
        "peak_mb": meter["peak_mb"],
        "idle_mb": meter["idle_mb"],
        "bare_sequential_seconds": bare["seconds"],
        "bare_threads_seconds": threads["seconds"],
        "bare_threads_peak_mb": threads["peak_mb"],
        "times_bare_sequential": round(meter["seconds"] / bare["seconds"], 2),
        "times_bare_threads": round(meter["seconds"] / threads["seconds"], 2),
        "times_bare_threads_peak": round(meter["peak_mb"] / threads["peak_mb"], 2),
    }


def _in_fresh_process(mode: str, port: int, regions: int, hours: int, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.meter", "--measure", mode, str(port), str(regions), str(hours), folder]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = report.arguments("What one full read of the meter takes.")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        mode, port, regions, hours, folder = arguments.measure
        print(json.dumps(measure(mode, int(port), int(regions), int(hours), Path(folder) / "calls")))
        return
    figures: dict[str, Any] = {"assumptions": ASSUMPTIONS}
    print(f"{'':<30} {'calls':>6} {'seconds':>8} {'x bare':>7} {'x threads':>9} {'peak MB':>8} {'x threads':>9}")
    for name, regions, models in (
        ("fleet", *FLEET),
        *((f"{models} models in one region", 1, models) for models in GROWTH),
    ):
        figures[name] = found = compared(regions, models, OPEN_HOURS)
        print(
            f"{name:<30} {found['calls']:>6} {found['seconds']:>8.2f} {found['times_bare_sequential']:>7.2f} "
            f"{found['times_bare_threads']:>9.2f} {found['peak_mb']:>8.1f} {found['times_bare_threads_peak']:>9.2f}"
        )
    one, most = (figures[f"{models} models in one region"] for models in (GROWTH[0], GROWTH[-1]))
    figures["seconds_a_series_at_1000_models"] = round(most["seconds"] / most["series"], 5)
    figures["times_at_1000_models"] = {
        what: round(most[what] / one[what], 1) for what in ("series", "calls", "seconds", "peak_mb")
    }
    print(f"from 1 to 1,000 models: {figures['times_at_1000_models']}")
    complete = not any(each["gaps"] for each in figures.values() if isinstance(each, dict) and "gaps" in each)
    report.write(arguments.out, "meter", figures, {}, met=complete)


ASSUMPTIONS = {
    "call": f"{CALL_SECONDS * 1000:.0f} ms from request to answer, on loopback, plain HTTP, CloudWatch's own protocol",
    "usage": f"every series has a datapoint in each minute of the open hour and of the {OPEN_HOURS} before",
    "machine": "the stand-in's processes share this machine's cores with what is measured",
    "bare": "the very same calls through boto3, answers thrown away: one after another, and from as many threads",
    "peak_mb": "most resident memory of a fresh process (VmHWM); idle_mb: before the read",
}


if __name__ == "__main__":
    main()
