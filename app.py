"""The CDK app: one stack, described by guardrail.toml (another file with ``-c guardrail=PATH``)."""

import json
import sys
from pathlib import Path

from aws_cdk import App

from lambdas.core.errors import GuardrailError
from stacks.configuration import load
from stacks.guardrail_stack import GuardrailStack

ROOT = Path(__file__).parent


def main() -> None:
    """Synthesize, or say in one line a mistake what is wrong with the configuration."""
    # The CLI reads cdk.json by itself and what it passes wins; a bare `python app.py` must synthesize the same.
    app = App(context=json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"])
    file = Path(str(app.node.try_get_context("guardrail") or "guardrail.toml"))
    try:
        file = ROOT / file
        # As short as the user would type it; an absolute path stays one.
        configuration = load(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)
        GuardrailStack(app, f"{configuration.settings.prefix}-guardrail", configuration=configuration)
    except GuardrailError as error:
        sys.exit(str(error))
    app.synth()


if __name__ == "__main__":
    main()
