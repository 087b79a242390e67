"""What a cold start is measured by: fresh processes that really import."""

import pytest

from bench import coldstart


def test_every_handler_is_measured():
    assert {
        "kill",
        "stop",
        "release",
        "install",
        "arm",
        "meter",
        "status",
        coldstart.BASELINE,
    } <= coldstart.subjects().keys()


def test_what_is_imported_costs_time_and_memory():
    found = coldstart.compare(1, {coldstart.BASELINE: "pass", "more": "import json, decimal, email.message, ssl"})
    assert found["more"]["cpu_ms"] > found[coldstart.BASELINE]["cpu_ms"] >= 0
    assert found["more"]["peak_mb"] > found[coldstart.BASELINE]["peak_mb"] > 1


def test_an_import_that_fails_is_no_figure():
    with pytest.raises(Exception, match="non-zero exit status"):
        coldstart.compare(1, {coldstart.BASELINE: "import no_such_module"})
