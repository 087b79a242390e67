"""Start the emulator with what it lacks added in process.

Run by the emulator's own Python as ``-m drill.emulator.launcher`` from the repository's root; it needs
the standard library and the emulator only. Everything added is listed in ``adaptations.toml``.
"""

import importlib
import importlib.metadata
import os
import signal
import sys
import threading

from drill.emulator.adaptations import patches

SUPPORTED = "1.5.33"
PATCH_MODULES = (
    *("iam", "agentcore", "api_keys", "bedrock", "budgets", "cloudtrail", "cloudwatch", "events", "functions"),
    *("schemas", "server"),
)


def check_version() -> None:
    """Refuse any other release: the patches reach into its internals."""
    try:
        found = importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != SUPPORTED:
        sys.exit(f"The drill's emulator must be ministack=={SUPPORTED}, but this environment has {found}.")


def apply_patches() -> list[str]:
    """Add every adaptation and return their ids."""
    for name in PATCH_MODULES:
        importlib.import_module(f"drill.emulator.patches.{name}")
    registered = patches()
    for patch in registered.values():
        patch()
    return list(registered)


def end_with_parent() -> None:
    """Wait for the parent's end of standard input to close, then stop: no emulator outlives its run."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Check, patch, serve until terminated."""
    check_version()
    apply_patches()
    threading.Thread(target=end_with_parent, daemon=True).start()
    importlib.import_module("ministack.app").main()


if __name__ == "__main__":
    main()
