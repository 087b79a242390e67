"""Where the drill is not AWS is listed in one file: everything in it is used, everything used is in it."""

import importlib

from drill.emulator import adaptations
from drill.emulator.assembly import TEMPLATE_ADAPTATIONS
from drill.emulator.launcher import PATCH_MODULES
from drill.scenes import ADAPTATIONS


def test_the_list_and_the_code_agree():
    for name in PATCH_MODULES:
        importlib.import_module(f"drill.emulator.patches.{name}")
    adaptations.patches()
    adaptations.check_used("template", TEMPLATE_ADAPTATIONS)
    adaptations.check_used("drill", ADAPTATIONS)
