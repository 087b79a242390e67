"""What every measurement writes."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows ``--out``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    return parser


def write(out: Path, name: str, figures: Mapping[str, Any], targets: Mapping[str, Any], *, met: bool) -> None:
    """Write ``out/NAME.json``."""
    out.mkdir(parents=True, exist_ok=True)
    body = {"name": name, "figures": figures, "targets": targets, "met": met}
    (out / f"{name}.json").write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
