"""The template, checked by a tool that knows CloudFormation."""

import json
import subprocess
import sys
from pathlib import Path


def test_cfn_lint_has_no_finding(shipped, varied, tmp_path):
    for name, stack in (("shipped", shipped), ("varied", varied)):
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


def test_the_template_fits_into_a_single_call(shipped):
    # CloudFormation takes 51,200 bytes without a detour over a bucket.
    assert len(json.dumps(shipped.json, separators=(",", ":"))) < 51_200
