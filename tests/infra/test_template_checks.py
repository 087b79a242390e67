"""The template, checked by a tool that knows CloudFormation."""

import json
import subprocess
import sys
from pathlib import Path


def test_cfn_lint_has_no_finding(shipped, varied, satellites, tmp_path):
    for name, stack in {"shipped": shipped, "varied": varied, **satellites}.items():
        (tmp_path / f"{name}.template.json").write_text(json.dumps(stack.json), encoding="utf-8")
    # As `make synth` calls it: from the root, where the settings of cfn-lint are.
    run = subprocess.run(  # noqa: S603 - our own tool on our own files
        [str(Path(sys.executable).with_name("cfn-lint")), *map(str, sorted(tmp_path.glob("*.template.json")))],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_satellite_goes_without_a_bucket(satellites):
    # CloudFormation takes 51,200 bytes in a call, and the CLI sends what is below 50 KiB as YAML. The home stack goes
    # by way of the bucket of `cdk bootstrap`, which its functions need anyway.
    for each in satellites.values():
        # Longer than as YAML; with every option on, `test_alarms` looks again.
        assert len(json.dumps(each.json, indent=1)) < 30_000
