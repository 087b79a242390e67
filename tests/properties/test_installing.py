"""Invariant 7: an update or a rollback never opens a closed brake, wherever it stops half-way."""

from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.errors import AwsCallError, UnfinishedError
from lambdas.core.levels import SID_OF, Document, Level
from lambdas.installing import ForeignPolicyError, Version, install, remove
from tests.fakes import BRAKE, FakePolicies, refused

NAME = BRAKE.rpartition("/")[2]


def documents(edition: int | Mapping[Level, int]) -> dict[Level, Document]:
    """Return documents that differ from edition to edition."""
    editions = dict.fromkeys(Level, edition) if isinstance(edition, int) else edition
    return {
        level: {"Version": "2012-10-17", "Statement": [{"Sid": sid, "Action": f"bedrock:Edition{editions[level]}"}]}
        for level, sid in SID_OF.items()
    }


def level_now(iam: FakePolicies) -> Level | None:
    return next(each.level for each in iam.policies[BRAKE] if each.is_default)


def pull(iam: FakePolicies, level: Level) -> None:
    iam.set_default(BRAKE, next(each.version_id for each in iam.policies[BRAKE] if each.level is level))


def test_a_new_policy_is_released_and_has_every_level():
    iam = FakePolicies()
    versions = install(NAME, BRAKE, documents(1), iam, "us")
    assert level_now(iam) is Level.RELEASED
    assert {each.level: each.version_id for each in iam.policies[BRAKE]} == versions
    assert len(versions) == 3


def test_installing_the_same_again_writes_nothing():
    iam = FakePolicies()
    install(NAME, BRAKE, documents(1), iam, "us")
    before = iam.calls
    install(NAME, BRAKE, documents(1), iam, "us")
    assert iam.calls == before


@pytest.mark.parametrize("level", Level)
def test_an_update_keeps_the_level_at_every_moment_and_leaves_three_versions(level: Level):
    iam = FakePolicies()
    install(NAME, BRAKE, documents(1), iam, "us")
    pull(iam, level)
    seen: set[Level | None] = set()
    iam.watch = lambda: seen.add(level_now(iam))
    install(NAME, BRAKE, documents(2), iam, "us")
    assert seen == {level}
    assert sorted(len(str(each.document)) for each in iam.policies[BRAKE]) == sorted(
        len(str(each)) for each in documents(2).values()
    )


def test_a_policy_of_somebody_elses_is_refused_and_left_alone():
    foreign = Version("v1", {"Statement": [{"Sid": "Theirs"}]}, is_default=True)
    iam = FakePolicies({BRAKE: [foreign]})
    with pytest.raises(ForeignPolicyError, match="choose another prefix"):
        install(NAME, BRAKE, documents(1), iam, "us")
    remove(BRAKE, iam, "us")
    assert iam.policies == {BRAKE: [foreign]}


def test_another_deployment_is_refused_and_its_destroy_takes_nothing_away():
    iam = FakePolicies()
    install(NAME, BRAKE, documents(1), iam, "us")
    pull(iam, Level.STOP)
    iam.attached[BRAKE] = {"role/agent"}
    with pytest.raises(ForeignPolicyError, match="belongs to us, not to them"):
        install(NAME, BRAKE, documents(2), iam, "them")
    remove(BRAKE, iam, "them")
    assert level_now(iam) is Level.STOP
    assert iam.attached[BRAKE] == {"role/agent"}


def test_what_somebody_added_by_hand_gives_way_when_room_is_needed():
    iam = FakePolicies()
    install(NAME, BRAKE, documents(1), iam, "us")
    for name in ("Theirs", "Too"):
        iam.create_version(BRAKE, {"Statement": [{"Sid": name}]})
    install(NAME, BRAKE, documents(2), iam, "us")
    assert {each.level for each in iam.policies[BRAKE]} == set(Level)


def test_removing_releases_and_detaches_before_it_deletes():
    iam = FakePolicies()
    install(NAME, BRAKE, documents(1), iam, "us")
    pull(iam, Level.STOP)
    iam.attached[BRAKE] = {"role/agent", "user/dev"}
    remove(BRAKE, iam, "us")
    assert iam.policies == {}
    assert iam.attached == {BRAKE: set()}
    remove(BRAKE, iam, "us")


def test_a_holder_iam_lets_nobody_detach_does_not_keep_the_others_and_is_named(monkeypatch):
    iam = FakePolicies()
    install(NAME, BRAKE, documents(1), iam, "us")
    pull(iam, Level.STOP)
    iam.attached[BRAKE] = {"role/AWSReservedSSO_Dev_0", "role/a", "user/b"}
    detach = iam.detach

    def refusing(arn: str, holder: str) -> None:
        if "SSO" in holder:
            raise refused("iam:DetachRolePolicy", "UnmodifiableEntity")
        detach(arn, holder)

    monkeypatch.setattr(iam, "detach", refusing)
    with pytest.raises(UnfinishedError, match=r"permission set.*AWSReservedSSO_Dev_0"):
        remove(BRAKE, iam, "us")
    assert iam.attached[BRAKE] == {"role/AWSReservedSSO_Dev_0"}
    assert level_now(iam) is Level.RELEASED


editions = st.fixed_dictionaries({level: st.integers(1, 3) for level in Level})


@given(
    level=st.sampled_from(Level),
    first=editions,
    second=editions,
    crash_at=st.integers(1, 12),
    after_effect=st.booleans(),
    rolled_back=st.booleans(),
)
def test_a_crash_anywhere_is_repaired_by_the_next_run_and_never_moves_the_level(
    level: Level,
    first: Mapping[Level, int],
    second: Mapping[Level, int],
    crash_at: int,
    after_effect: bool,
    rolled_back: bool,
):
    iam = FakePolicies()
    install(NAME, BRAKE, documents(first), iam, "us")
    if level is not Level.RELEASED:
        pull(iam, level)
    seen: set[Level | None] = set()
    iam.watch = lambda: seen.add(level_now(iam))
    iam.crash_at, iam.crash_after_effect = iam.calls + crash_at, after_effect
    with suppress(AwsCallError):
        install(NAME, BRAKE, documents(second), iam, "us")
    iam.crash_at = None
    wanted = documents(first if rolled_back else second)
    versions = install(NAME, BRAKE, wanted, iam, "us")
    assert seen <= {level}
    assert level_now(iam) is level
    assert {each.version_id: each.document for each in iam.policies[BRAKE]} == {
        version: wanted[each] for each, version in versions.items()
    }


@given(level=st.sampled_from(Level), crash_at=st.integers(1, 12), after_effect=st.booleans())
def test_a_removal_that_crashed_is_finished_by_the_next(level: Level, crash_at: int, after_effect: bool):
    iam = FakePolicies()
    install(NAME, BRAKE, documents(1), iam, "us")
    pull(iam, level)
    iam.attached[BRAKE] = {"role/a", "role/b"}
    iam.crash_at, iam.crash_after_effect = iam.calls + crash_at, after_effect
    with suppress(AwsCallError, UnfinishedError):
        remove(BRAKE, iam, "us")
    iam.crash_at = None
    remove(BRAKE, iam, "us")
    assert iam.policies == {}
