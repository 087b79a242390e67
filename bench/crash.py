"""What becomes of the account when any single AWS call fails: every call of every flow, in four ways.

``python -m bench.crash [--out out/bench]`` writes ``out/bench/crash.json``: for each flow how many points were tried,
at how many the account ended as it does undisturbed, and at how many nobody was told although something was amiss.
"""

import contextlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench import report

_AWAY_FROM_AWS = {
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "none"),
    **dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "us-east-1"),
    "AWS_CONFIG_FILE": "/nonexistent",
    "MOTO_ACCOUNT_ID": "123456789012",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
}
TARGETS = {"converged": "as many as points", "silent": 0}


def sweep(name: str, hows: Sequence[str] = ()) -> dict[str, Any]:
    """Return the figures of a flow; ways to fail are spelled as the harness does, by default all are tried."""
    from tests.integration.crashes import FLOWS, How, prepared  # noqa: PLC0415 - moto reads the environment

    ways = [How(each) for each in hows] or list(How)
    flow = next(each for each in FLOWS if each.name == name)
    # What the functions print is theirs, not the measurement's.
    with contextlib.redirect_stdout(io.StringIO()), prepared(flow) as swept:
        ended = [swept.fail(call, how) for call in swept.chosen() for how in ways]
    return {
        "calls": len(swept.calls),
        "writes": sum(each.writes for each in swept.calls),
        "points": len(ended),
        "converged": sum(each.converged for each in ended),
        "silent": sum(each.silent for each in ended),
        "amiss": [str(each) for each in ended if each.silent or not each.converged],
    }


def sweep_all() -> dict[str, Any]:
    """Return the figures of every flow; each has a process of its own, as many at once as there are cores."""
    from tests.integration.crashes import FLOWS  # noqa: PLC0415

    names = [each.name for each in FLOWS]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return dict(zip(names, pool.map(sweep, names), strict=True))


def main() -> None:
    """Sweep, print and write."""
    out: Path = report.arguments("What becomes of the account when any single AWS call fails.").parse_args().out
    os.environ.update(_AWAY_FROM_AWS)
    os.environ.pop("AWS_PROFILE", None)
    figures = sweep_all()
    print(f"{'':<28} {'calls':>6} {'writes':>7} {'points':>7} {'converged':>10} {'silent':>7}")
    for name, each in figures.items():
        row = f"{each['calls']:>6} {each['writes']:>7} {each['points']:>7} {each['converged']:>10} {each['silent']:>7}"
        print(f"{name:<28} {row}")
        for words in each["amiss"]:
            print(f"  {words}")
    met = all(each["converged"] == each["points"] and not each["silent"] for each in figures.values())
    report.write(out, "crash", {"assumptions": ASSUMPTIONS, **figures}, TARGETS, met=met)


ASSUMPTIONS = {
    "point": "one AWS call of the flow, failing in one way: before or after it took effect, throttled in spite of "
    "every retry of the SDK's, or timed out after it took effect",
    "converged": "after what AWS runs next (the meter and what it asks for, CloudFormation's retry, the hourly arming) "
    "policies, who holds them, keys, concurrency, jobs and the book of what is held down are as undisturbed",
    "silent": "the failing run neither raised nor named the failure in its answer or mail, and did not repair it",
    "order": "one call at a time, so that each run makes the same calls in the same order",
    "aws": "moto, and stand-ins where it has no such operation",
}


if __name__ == "__main__":
    main()
