"""What a cold start takes: each handler against a bare ``import boto3`` and one client, in fresh processes.

``python -m bench.coldstart [--out out/bench]`` writes ``out/bench/coldstart.json``. Runs are interleaved and figures
are medians; what counts is processor time, to which whatever else the machine does adds little.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import report

ROOT = Path(__file__).parent.parent
RUNS = 9
BASELINE = "boto3"
TARGETS = {"kill_times_boto3": 1.3}

_MEASURED = """
import json, sys, time
began, busy = time.perf_counter(), time.process_time()
{work}
seconds, cpu = time.perf_counter() - began, time.process_time() - busy
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({{"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak / 1024}}))
"""
_CLIENT = "import boto3; boto3.client('iam', region_name='us-east-1')"
_DESK = "from lambdas.handlers.kill import handler; from lambdas.wiring import Wiring; Wiring().desk(None)"


def subjects() -> dict[str, str]:
    """Return what is timed, by name: the baseline, each handler with one client, and the kill up to its first call."""
    handlers = sorted(each.stem for each in (ROOT / "lambdas" / "handlers").glob("[!_]*.py"))
    return {
        BASELINE: _CLIENT,
        **{each: f"import lambdas.handlers.{each}; {_CLIENT}" for each in handlers},
        "kill, all its clients": _DESK,
    }


def compare(runs: int, wanted: Mapping[str, str]) -> dict[str, Any]:
    """Return the figures of each subject, medians of so many runs."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
    with tempfile.TemporaryDirectory() as cache:
        for work in wanted.values():
            _run(work, cache)  # compiles it all
        for _ in range(runs):
            for name, work in wanted.items():
                found[name].append(_run(work, cache))
    return {name: _medians(each, found[BASELINE]) for name, each in found.items()}


def _medians(measured: Sequence[Mapping[str, float]], baseline: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = ("seconds", "cpu_seconds", "peak_mb")
    wall, cpu, peak = (statistics.median(each[what] for each in measured) for what in names)
    bare_wall, bare_cpu, bare_peak = (statistics.median(each[what] for each in baseline) for what in names)
    return {
        "cpu_ms": round(cpu * 1000, 1),
        "times_boto3": round(cpu / bare_cpu, 2),
        "ms": round(wall * 1000, 1),
        "times_boto3_by_the_clock": round(wall / bare_wall, 2),
        "peak_mb": round(peak, 1),
        "times_boto3_peak": round(peak / bare_peak, 2),
    }


def _run(work: str, cache: str) -> dict[str, float]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        # Compiled files of its own: whether those of the virtual environment are there must not matter.
        "PYTHONPYCACHEPREFIX": cache,
        **_SETTINGS,
    }
    answer = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", _MEASURED.format(work=work)], check=True, capture_output=True, text=True, env=environment
    )
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


_POLICY = "arn:aws:iam::123456789012:policy/bedrock-spend-{}"
_SETTINGS = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "BRAKE_POLICY_ARN": _POLICY.format("brake"),
    "SWEEP_POLICY_ARN": _POLICY.format("sweep"),
    "DENY_POLICY_ARN": _POLICY.format("deny"),
    "WRITER_FUNCTION": "install",
    "NOTICE_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:notices",
    "LEDGER_TABLE": "ledger",
    "STOP_FUNCTION": "stop",
    "STOP_BY_HAND": "by hand",
    "GUARDRAIL": json.dumps(
        {
            "prefix": "bedrock-spend",
            "enforce": True,
            "regions": ["us-east-1"],
            "watched": [],
            "limits": [],
            "budget": {"warn": None, "step_down": None},
            "reaction_seconds": 240,
            "max_blind_usd": "5",
            "exempt": [],
            "external_anthropic": False,
            "assumptions": {},
            "prices": {"factor": "1", "priority_tier": False, "long_context": False, "overrides": []},
        }
    ),
}

ASSUMPTIONS = {
    "boto3": "a bare `import boto3` and an IAM client, the same for every handler",
    "handlers": "the import of the handler's module, and an IAM client",
    "kill, all its clients": "the kill handler, its settings and every client it makes before its first call",
    "compiled": "byte code is there for both; the Lambda runtime compiles a function's own modules at each cold start",
    "machine": f"medians of {RUNS} interleaved runs in fresh processes; times_boto3 is of processor time",
}


def main() -> None:
    """Measure, print and write."""
    out: Path = report.arguments("What a cold start of each handler takes.").parse_args().out
    figures = compare(RUNS, subjects())
    print(f"{'':<24} {'CPU ms':>8} {'x boto3':>8} {'ms':>8} {'peak MB':>8} {'x boto3':>8}")
    for name, each in figures.items():
        row = (each[what] for what in ("cpu_ms", "times_boto3", "ms", "peak_mb", "times_boto3_peak"))
        print(f"{name:<24} " + " ".join(f"{figure:>8}" for figure in row))
    met = figures["kill"]["times_boto3"] <= TARGETS["kill_times_boto3"]
    report.write(out, "coldstart", {"assumptions": ASSUMPTIONS, **figures}, TARGETS, met=met)


if __name__ == "__main__":
    main()
