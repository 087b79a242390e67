"""Told to end, a drill leaves neither files nor processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RUN = """
import subprocess, sys, tempfile
from drill.ending import clean_up_when_told_to_end
clean_up_when_told_to_end()
with tempfile.TemporaryDirectory(dir=sys.argv[1]) as name, subprocess.Popen(["sleep", "60"]) as child:
    try:
        print(name, flush=True)
        child.wait()
    finally:
        {also}
        child.terminate()
        print("cleaned up", flush=True)
"""


def start(directory: Path, *, also: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN.format(also=also), str(directory)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("also", ["pass", "import os; os.kill(os.getpid(), signal_number)"])
def test_told_to_end_it_cleans_up_even_when_told_twice(tmp_path, number, also):
    with start(tmp_path, also=also.replace("signal_number", str(int(number)))) as run:
        assert run.stdout
        made = Path(run.stdout.readline().strip())
        assert made.is_dir()
        began = time.monotonic()
        run.send_signal(number)
        assert "cleaned up" in run.stdout.read()
        assert run.wait(20) == 128 + number

    assert not list(tmp_path.iterdir())
    assert time.monotonic() - began < 20
