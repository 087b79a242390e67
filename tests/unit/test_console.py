"""The console's Test drop-down: each event is taken by its function, none does harm before it is filled in."""

import json
import re
from datetime import datetime
from typing import Any

import pytest

from lambdas.core import console
from lambdas.core.errors import RefusedError
from lambdas.core.triggers import (
    AllowRequest,
    parse_allow,
    parse_automatic_release,
    parse_kill,
    parse_release,
    parse_status,
)
from tests.conftest import ACCOUNT, event


def events(word: str) -> dict[str, dict[str, Any]]:
    return {name: dict(each) for name, each in console.EVENTS[word].items()}


def filled(given: dict[str, Any]) -> dict[str, Any]:
    words = {"reason": "fixed", "by": "ada", "scope": "role/agent", "plan": "role/agent"}
    return {key: words[key] if each == "" or "<" in str(each) else each for key, each in given.items()}


def test_the_console_takes_every_name_and_shows_the_most_wanted_first():
    for word, given in console.EVENTS.items():
        assert list(given) == sorted(given), word
        for name in given:
            assert re.fullmatch(r"[A-Za-z0-9._-]{1,25}", name), name


def test_what_has_to_be_filled_in_is_refused_as_it_stands(now: datetime):
    for given in events("release").values():
        with pytest.raises(RefusedError, match="reason"):
            parse_allow(given, now=now) or parse_release(given, now=now, account_id=ACCOUNT)
    for word, parse in (("kill", parse_kill), ("status", parse_status)):
        narrow = [each for each in events(word).values() if "<" in str(each)]
        assert narrow
        for given in narrow:
            with pytest.raises(RefusedError, match=r"role/NAME|model:ID"):
                parse(given, account_id=ACCOUNT)


def test_filled_in_every_event_is_understood(now: datetime):
    for given in events("kill").values():
        _, scope = parse_kill(filled(given), account_id=ACCOUNT)
        assert (scope is None) == ("scope" not in given)
    assert [parse_status(filled(each), account_id=ACCOUNT).plan for each in events("status").values()] == [
        False,
        True,
        True,
        False,
    ]
    for given in events("release").values():
        asked = filled(given)
        assert parse_automatic_release(asked) is None
        request = parse_allow(asked, now=now) or parse_release(asked, now=now, account_id=ACCOUNT)
        assert isinstance(request, AllowRequest) == (given["confirm"] == "ALLOW")


def test_a_document_is_what_lambda_reads_events_from():
    found = json.loads(console.document(console.EVENTS["kill"], None))
    recorded = event("console_shared_events.json")
    assert found.keys() == recorded.keys()
    assert found["components"].keys() == recorded["components"].keys()
    assert found["openapi"] == recorded["openapi"]
    assert found["components"]["examples"]["1-KILL-account"] == {"value": {"reason": "stopped by hand"}}


def test_what_others_shared_stays_and_our_names_are_ours():
    before = event("console_shared_events.json")
    before["components"]["examples"]["1-KILL-account"] = {"value": {"reason": "old"}}
    found = json.loads(console.document(console.EVENTS["kill"], json.dumps(before)))["components"]["examples"]
    assert found["drill-in-march"] == {"value": {"scope": "role/agent", "reason": "drill"}}
    assert found["1-KILL-account"]["value"]["reason"] == "stopped by hand"


@pytest.mark.parametrize("broken", [None, "", "{", "[]", "7", '{"components": 5}', '{"components": {"examples": []}}'])
def test_what_is_no_such_document_is_written_afresh(broken: str | None):
    wanted = console.document(console.EVENTS["status"], None)
    assert console.document(console.EVENTS["status"], broken) == wanted
    assert not console.same(broken, wanted)
    assert console.same(wanted, wanted)


def test_the_schema_is_named_as_lambda_looks_for_it():
    assert console.schema_name("bedrock-spend-kill") == "_bedrock-spend-kill-schema"
