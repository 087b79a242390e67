"""What lets several emulators run side by side."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import module


@launcher_patch("server-single-port")
def _single_port() -> None:
    module("app")._port_is_bindable = lambda _host, _port: False
