"""Long-term Bedrock API keys: which are set inactive, and that those alone come back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest

from lambdas.aws import api_keys
from lambdas.aws.api_keys import ApiKeys
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.principals import Spared
from tests.answering import answering, refusal

BEDROCK = "bedrock.amazonaws.com"
CLAUDE_PLATFORM = "aws-external-anthropic.amazonaws.com"
NOBODY = Spared()


def key(number: int) -> str:
    return f"ACCA{number:016}"


@dataclass
class Iam:
    """Users with paths and tags, and their keys; a page is as long as told."""

    users: dict[str, str] = field(default_factory=lambda: {"dev": "/", "on-call": "/ops/"})
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    """User, service and status by id."""
    refuses: dict[str, str] = field(default_factory=dict)
    """Operation, or operation and one of its values (``GetUser dev``), to error code."""
    page: int = 2
    writes: list[tuple[str, str]] = field(default_factory=list)

    def add(self, number: int, user: str = "dev", service: str = BEDROCK, status: str = "Active") -> None:
        self.keys[key(number)] = {"UserName": user, "ServiceName": service, "Status": status}

    @property
    def statuses(self) -> dict[str, str]:
        return {name: each["Status"] for name, each in self.keys.items()}

    def __call__(self, operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in (operation, *(f"{operation} {value}" for value in asked.values())):
            if name in self.refuses:
                raise refusal(self.refuses[name], operation)
        if "UserName" in asked and asked["UserName"] not in self.users:
            raise refusal("NoSuchEntity", operation)
        answer: Mapping[str, Any] = getattr(self, f"_{operation}")(asked)
        return answer

    def _GetUser(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802 - AWS's name
        name = asked["UserName"]
        path = self.users[name]
        tags = [{"Key": each, "Value": value} for each, value in self.tags.get(name, {}).items()]
        return {"User": {"Arn": f"arn:aws:iam::1:user{path}{name}", "Path": path, "UserName": name, "Tags": tags}}

    def _ListServiceSpecificCredentials(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802
        assert ("UserName" in asked) is not asked.get("AllUsers", False)
        found = [
            {"ServiceSpecificCredentialId": name, "CreateDate": datetime(2026, 11, 1, tzinfo=UTC), **each}
            for name, each in self.keys.items()
            if each["ServiceName"] == asked["ServiceName"] and asked.get("UserName") in {None, each["UserName"]}
        ]
        first = int(asked.get("Marker", 0))
        more = {"IsTruncated": True, "Marker": str(first + self.page)} if first + self.page < len(found) else {}
        return {"ServiceSpecificCredentials": found[first : first + self.page], "IsTruncated": False, **more}

    def _UpdateServiceSpecificCredential(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802
        name = asked["ServiceSpecificCredentialId"]
        if self.keys.get(name, {}).get("UserName") != asked["UserName"]:
            raise refusal("NoSuchEntity")
        self.keys[name]["Status"] = asked["Status"]
        self.writes.append((name, asked["Status"]))
        return {}


@pytest.fixture
def iam():
    return Iam()


def keys_of(iam: Iam, *, external_anthropic: bool = False) -> ApiKeys:
    return ApiKeys(answering("iam", iam), external_anthropic=external_anthropic)


def stop(lever: ApiKeys, spared: Spared = NOBODY):
    found = lever.find(Level.STOP, spared)
    for each in found.to_hold:
        lever.hold(each, Level.STOP)
    return found


def test_a_stop_sets_the_active_keys_of_every_page_inactive_and_a_release_those_alone_active(iam):
    for number, status in enumerate(["Active", "Inactive", "Expired", "Active", "Active"]):
        iam.add(number, status=status)
    before = iam.statuses
    lever = keys_of(iam)
    found = stop(lever)
    assert [each.key for each in found.to_hold] == [key(0), key(3), key(4)]
    assert found.to_hold[0].words == f"API key {key(0)} of user/dev"
    assert set(iam.statuses.values()) == {"Inactive", "Expired"}
    assert lever.find(Level.STOP, NOBODY).to_hold == ()
    for each in found.to_hold:
        lever.restore(each)
    assert iam.statuses == before


def test_keys_of_other_services_are_never_touched_and_those_of_claude_platform_where_it_is_configured(iam):
    iam.add(0, service="codecommit.amazonaws.com")
    iam.add(1, service="logs.amazonaws.com")
    iam.add(2, service=CLAUDE_PLATFORM)
    iam.add(3)
    assert [each.key for each in keys_of(iam).find(Level.STOP, NOBODY).to_hold] == [key(3)]
    both = keys_of(iam, external_anthropic=True).find(Level.STOP, NOBODY)
    assert [each.key for each in both.to_hold] == [key(3), key(2)]


@pytest.mark.parametrize("level", [Level.RELEASED, Level.STEP_DOWN])
def test_below_a_stop_keys_are_left_and_nothing_is_asked(iam, level):
    iam.add(0)
    lever = keys_of(iam)
    (held,) = lever.find(Level.STOP, NOBODY).to_hold
    iam.refuses = {"ListServiceSpecificCredentials": "AccessDenied"}
    assert lever.find(level, NOBODY).to_hold == ()
    assert not lever.find(level, NOBODY).unread
    lever.hold(held, level)
    assert iam.writes == []


@pytest.mark.parametrize("spared", [Spared(("user/ops/*",)), Spared(("user/ops/on-call",)), Spared(tag="spend=exempt")])
def test_keys_of_the_exempt_are_left_whether_by_path_or_by_tag(iam, spared):
    iam.tags = {"on-call": {"Spend": "exempt"}, "dev": {"spend": "Exempt"}}
    iam.add(0, user="on-call")
    iam.add(1, user="dev")
    assert [each.key for each in keys_of(iam).find(Level.STOP, spared).to_hold] == [key(1)]


def test_an_exemption_of_the_same_name_under_another_path_spares_nobody(iam):
    iam.add(0, user="on-call")
    assert keys_of(iam).find(Level.STOP, Spared(("user/on-call",))).to_hold != ()


def test_a_list_that_fails_half_way_is_unread_and_what_was_seen_is_held_all_the_same(iam):
    for number in range(5):
        iam.add(number)
    iam.refuses = {"ListServiceSpecificCredentials 2": "ServiceFailure"}
    found = keys_of(iam).find(Level.STOP, NOBODY)
    assert [each.key for each in found.to_hold] == [key(0), key(1)]
    assert dict(found.unread) == {
        f"API keys for {BEDROCK}": "iam:ListServiceSpecificCredentials: ServiceFailure: no",
    }


def test_an_owner_who_cannot_be_read_is_unread_and_the_others_are_held(iam):
    iam.add(0, user="on-call")
    iam.add(1)
    iam.refuses = {"GetUser on-call": "AccessDenied"}
    found = keys_of(iam).find(Level.STOP, NOBODY)
    assert [each.key for each in found.to_hold] == [key(1)]
    assert list(found.unread) == ["API keys of user/on-call"]


def test_a_service_that_has_no_keys_here_is_no_failure(iam):
    iam.add(0)
    iam.refuses = {f"ListServiceSpecificCredentials {CLAUDE_PLATFORM}": "NotSupportedService"}
    found = keys_of(iam, external_anthropic=True).find(Level.STOP, NOBODY)
    assert (len(found.to_hold), dict(found.unread)) == (1, {})


def test_a_user_or_key_that_is_gone_is_left(iam):
    iam.add(0)
    iam.add(1, user="on-call")
    lever = keys_of(iam)
    found = lever.find(Level.STOP, NOBODY)
    del iam.keys[key(0)], iam.users["on-call"]
    for each in found.to_hold:
        lever.hold(each, Level.STOP)
        lever.restore(each)
    assert iam.writes == []
    assert lever.find(Level.STOP, NOBODY).unread == {}


@pytest.mark.parametrize("somebody_else_is_called_so_now", [True, False])
def test_the_key_of_a_user_who_was_renamed_comes_back(iam, somebody_else_is_called_so_now):
    iam.add(0)
    iam.add(1, user="on-call")
    lever = keys_of(iam)
    held = stop(lever).to_hold[0]
    iam.users["dev2"] = iam.users["dev"] if somebody_else_is_called_so_now else iam.users.pop("dev")
    iam.keys[held.key]["UserName"] = "dev2"
    lever.restore(held)
    assert iam.statuses == {held.key: "Active", key(1): "Inactive"}


def test_a_key_that_is_nowhere_is_named_in_the_log(iam, monkeypatch):
    log = StringIO()
    monkeypatch.setattr(api_keys.logger.registered_handler, "stream", log)
    iam.add(0)
    lever = keys_of(iam)
    (held,) = stop(lever).to_hold
    del iam.keys[held.key]
    lever.restore(held)
    line = json.loads(log.getvalue())
    assert (line["message"], line["key"], line["user"]) == ("a key that was set inactive is gone", held.key, "dev")


def test_a_key_that_expired_while_it_was_held_is_left(iam):
    iam.add(0)
    lever = keys_of(iam)
    (held,) = stop(lever).to_hold
    iam.keys[held.key]["Status"] = "Expired"
    lever.restore(held)
    assert iam.statuses == {held.key: "Expired"}


def test_holding_and_restoring_twice_is_the_same_as_once(iam):
    iam.add(0)
    lever = keys_of(iam)
    (held,) = stop(lever).to_hold
    lever.hold(held, Level.STOP)
    assert iam.statuses == {held.key: "Inactive"}
    lever.restore(held)
    lever.restore(held)
    assert iam.writes[2:] == [(held.key, "Active")]


@pytest.mark.parametrize("refused", ["UpdateServiceSpecificCredential", "ListServiceSpecificCredentials"])
def test_a_refusal_is_an_error_that_names_the_permission(iam, refused):
    iam.add(0)
    lever = keys_of(iam)
    (held,) = lever.find(Level.STOP, NOBODY).to_hold
    iam.keys[held.key]["Status"] = "Inactive"
    iam.refuses = {refused: "AccessDenied"}
    with pytest.raises(AwsCallError, match=f"iam:{refused}: AccessDenied"):
        lever.restore(held)
