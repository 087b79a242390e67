"""Run the drill: ``python -m drill --emulator-python PATH [--out DIR]``; ``make drill`` sets everything up first."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from drill import report
from drill.emulator.adaptations import load
from drill.emulator.assembly import TEMPLATE_ADAPTATIONS, adapt
from drill.emulator.emulator import REGION, Emulator
from drill.emulator.launcher import SUPPORTED
from drill.ending import clean_up_when_told_to_end
from drill.scenes import ADAPTATIONS, Drill
from drill.story import SceneError, Story
from lambdas.settings import Settings
from stacks.configuration import load as load_configuration

ROOT = Path(__file__).parent.parent
CONFIGURATION = Path(__file__).with_name("guardrail.toml")


def main() -> int:
    """Run all scenes and write the report; 0 when every scene was as it must be."""
    parser = argparse.ArgumentParser(prog="drill", description="Burn, stop, release and destroy on an embedded AWS.")
    parser.add_argument("--emulator-python", type=Path, required=True, help="Python of the emulator's environment")
    parser.add_argument("--out", type=Path, default=Path("out/drill"), help="where the report and the logs go")
    options = parser.parse_args()
    clean_up_when_told_to_end()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    for stale in ("report.json", "report.html"):
        # An interrupted drill must not leave the last one's success behind.
        (out / stale).unlink(missing_ok=True)
    console = Console()
    story = Story(console)
    settings = load_configuration(CONFIGURATION, home=REGION).settings
    facts: dict[str, Any] = {}
    adapted_types: list[str] = []
    with tempfile.TemporaryDirectory(prefix="drill-") as directory:
        assembly, copy = Path(directory, "assembly"), Path(directory, "copy")

        def synthesize() -> str:
            _synthesize(assembly, Path(directory))
            adapted_types.extend(each.adaptation for each in adapt(assembly, copy))
            return f"the real app with {CONFIGURATION.relative_to(ROOT)}"

        story.scene("synthesize", synthesize)
        if not story.failures:
            facts = _play(story, copy, settings, options.emulator_python.absolute(), out)
    story.print_timeline()
    listed = load()
    used = [each.id for each in listed.values() if each.kind == "launcher"]
    used += [*(each for each in TEMPLATE_ADAPTATIONS if each in adapted_types), *ADAPTATIONS]
    content = {
        "ok": not story.failures,
        "started": story.started_at.isoformat(timespec="seconds"),
        "seconds": story.seconds,
        "scenes": story.scenes,
        **facts,
        "timeline": story.timeline,
        "samples": story.samples,
        "marks": story.marks,
        "failures": story.failures,
        "emulator": {"name": "ministack", "version": SUPPORTED, "adapted": [asdict(listed[each]) for each in used]},
    }
    for file in report.write(content, out):
        console.print(f"report: {file}")
    return 1 if story.failures else 0


def _play(story: Story, assembly: Path, settings: Settings, python: Path, out: Path) -> dict[str, Any]:
    with Emulator(python, log_file=out / "emulator.log") as emulator:
        story.tell(f"the embedded AWS is up: ministack {SUPPORTED} on loopback, IAM enforced")
        drill = Drill(emulator, story, assembly, f"{settings.prefix}-guardrail", settings)
        drill.play()
        return drill.report()


def _synthesize(assembly: Path, temporary: Path) -> None:
    environment = os.environ | {
        "CDK_OUTDIR": str(assembly),
        "CDK_DEFAULT_REGION": REGION,
        "TMPDIR": str(temporary),
        "CDK_CONTEXT_JSON": json.dumps({"guardrail": str(CONFIGURATION)}),
    }
    done = subprocess.run(  # noqa: S603 - our own app
        [sys.executable, str(ROOT / "app.py")], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        msg = f"the app does not synthesize:\n{done.stderr[-2000:]}"
        raise SceneError(msg)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; the embedded AWS was stopped")
