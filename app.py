"""The CDK app, described by guardrail.toml (another file with ``-c guardrail=PATH``).

One stack in the home region, which is where the CLI deploys to, and a small one in each other region of the file. With
``-c organization=true``, instead, the one stack of organization mode, which another account holds.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import App

from lambdas.core.errors import GuardrailError
from lambdas.settings import Settings
from stacks.configuration import ConfigurationError, load
from stacks.guardrail_stack import GuardrailStack
from stacks.organization_stack import OrganizationStack
from stacks.satellite_stack import SatelliteStack

ROOT = Path(__file__).parent


def main() -> None:
    """Synthesize, or say in one line a mistake what is wrong with the configuration."""
    # The CLI reads cdk.json by itself and what it passes wins; a bare `python app.py` must synthesize the same.
    app = App(context=json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"])
    file = Path(str(app.node.try_get_context("guardrail") or "guardrail.toml"))
    try:
        file = ROOT / file
        # As short as the user would type it; an absolute path stays one.
        file = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        stacks(app, file, home_region(os.environ))
    except GuardrailError as error:
        sys.exit(str(error))
    app.synth()


def stacks(app: App, file: Path, home: str | None) -> None:
    """Make the home stack, and a satellite in each other region. Raises GuardrailError."""
    configuration = load(file, home=home)
    settings = configuration.settings
    if app.node.try_get_context("organization"):
        _organization_stack(app, file, settings, home)
        return
    stack = GuardrailStack(app, f"{settings.prefix}-guardrail", configuration=configuration)
    # `make bootstrap` prepares the region of every stack it sees, and only the home region needs that.
    if home is None or app.node.try_get_context("home-only"):
        return
    for region in configuration.satellites:
        # A tripwire must hang before the meter is told that it does, and stay until nobody relies on it.
        stack.add_stack_dependency(SatelliteStack(app, configuration=configuration, region=region, home=home))


def _organization_stack(app: App, file: Path, settings: Settings, home: str | None) -> None:
    """Make the stack of the management account, alone: the credentials of one account do not deploy into another."""
    if settings.organization is None:
        msg = f"{file}: organization: is missing: there is nothing to deploy with -c organization=true"
        raise ConfigurationError(msg)
    OrganizationStack(app, settings=settings, organization=settings.organization, home=home)


def home_region(environment: Mapping[str, str]) -> str | None:
    """Return the region the CLI deploys to, None when nothing says it."""
    names = ("CDK_DEFAULT_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    return next((environment[name] for name in names if environment.get(name)), None)


if __name__ == "__main__":
    main()
