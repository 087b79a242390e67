"""Invariant 7: no update or rollback opens a closed brake, wherever it stops half-way, or loses a scope."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas import installing
from lambdas.core.brake_documents import narrow_scopes
from lambdas.core.errors import AwsCallError, RefusedError, UnfinishedError
from lambdas.core.levels import SID_OF, Document, Level
from lambdas.core.scopes import Scope, parse_scope
from lambdas.installing import (
    MAX_VERSIONS,
    UP_TO_DATE,
    Change,
    ForeignPolicyError,
    Group,
    InstallTools,
    Own,
    Version,
    parse_change,
)
from tests.fakes import BRAKE, DENY, SWEEP, FakePolicies, refused

OWN = Own(BRAKE, SWEEP, DENY, "/bedrock-spend/", "us")
A, B, C = (parse_scope(f"profile:{letter * 8}") for letter in "abc")
GROUPS = {"bedrock-spend-sweep": SWEEP, "bedrock-spend-deny": DENY}


def document(sid: str, edition: int, scopes: Iterable[Scope] = ()) -> Document:
    resources = [f"arn:*:bedrock:*:*:application-inference-profile/{each.value}" for each in sorted(scopes)]
    narrow = [{"Sid": "NarrowResources", "Effect": "Deny", "Resource": resources}] if resources else []
    own = {"Sid": sid, "Effect": "Deny", "Action": f"bedrock:Edition{edition}"}
    return {"Version": "2012-10-17", "Statement": [own, *narrow]}


def documents(edition: int | Mapping[Level, int], scopes: Iterable[Scope] = ()) -> dict[Level, Document]:
    """Return documents that differ from edition to edition."""
    editions = dict.fromkeys(Level, edition) if isinstance(edition, int) else edition
    return {level: document(sid, editions[level], scopes) for level, sid in SID_OF.items()}


def tools(iam: FakePolicies, edition: int | Mapping[Level, int] = 1, own: Own = OWN) -> InstallTools:
    deny = document("BedrockSpendDeny", edition if isinstance(edition, int) else edition[Level.STOP])
    return InstallTools(own, lambda scopes: documents(edition, scopes), deny, iam)


def install(iam: FakePolicies, edition: int | Mapping[Level, int] = 1) -> installing.Written:
    return installing.install(tools(iam, edition))


def write(iam: FakePolicies, change: Change = UP_TO_DATE, edition: int = 1) -> installing.Written:
    return installing.write(change, tools(iam, edition))


def level_now(iam: FakePolicies, arn: str = BRAKE) -> Level | None:
    return next(each.level for each in iam.policies[arn] if each.is_default)


def scopes_now(iam: FakePolicies, arn: str = BRAKE) -> set[Scope]:
    return set(narrow_scopes(next(each.document for each in iam.policies[arn] if each.is_default)))


def documents_now(iam: FakePolicies, arn: str) -> dict[Level | None, Document]:
    found = {each.level: each.document for each in iam.policies[arn]}
    assert len(found) == len(iam.policies[arn]), "one version for each level"
    return found


def pull(iam: FakePolicies, level: Level) -> None:
    for arn in (BRAKE, SWEEP):
        newest = max((each.number for each in iam.policies[arn] if each.level is level), default=0)
        iam.set_default(arn, f"v{newest}")


def test_a_new_policy_is_released_and_has_every_level():
    iam = FakePolicies()
    written = install(iam)
    for arn in (BRAKE, SWEEP):
        assert level_now(iam, arn) is Level.RELEASED
        assert {each.level: each.version_id for each in iam.policies[arn]} == written.versions[arn.rpartition("/")[2]]
        assert len(iam.policies[arn]) == 3
    assert written.scopes == frozenset()


def test_the_deny_policy_has_one_version_and_each_group_holds_its_own_policy():
    iam = FakePolicies()
    install(iam)
    install(iam, 2)
    assert [each.document for each in iam.policies[DENY]] == [document("BedrockSpendDeny", 2)]
    assert iam.groups == {name: Group("/bedrock-spend/", (), frozenset({arn})) for name, arn in GROUPS.items()}


def test_installing_the_same_again_writes_nothing():
    iam = FakePolicies()
    install(iam)
    write(iam, Change(stop=A))
    before = iam.calls
    install(iam)
    write(iam)
    write(iam, Change(stop=A))
    write(iam, Change(release=B))
    assert iam.calls == before


@pytest.mark.parametrize("level", Level)
def test_an_update_keeps_the_level_at_every_moment_and_leaves_three_versions(level: Level):
    iam = FakePolicies()
    install(iam)
    pull(iam, level)
    seen: set[tuple[Level | None, Level | None]] = set()
    iam.watch = lambda: seen.add((level_now(iam), level_now(iam, SWEEP)))
    install(iam, 2)
    assert seen == {(level, level)}
    for arn in (BRAKE, SWEEP):
        assert documents_now(iam, arn) == documents(2)


@pytest.mark.parametrize("level", Level)
def test_what_is_stopped_alone_is_in_every_document_and_outlives_updates_and_refreshes(level: Level):
    iam = FakePolicies()
    install(iam)
    pull(iam, level)
    assert write(iam, Change(stop=A)).scopes == {A}
    assert write(iam, Change(stop=B)).scopes == {A, B}
    install(iam, 2)
    assert write(iam, edition=3).scopes == {A, B}
    for arn in (BRAKE, SWEEP):
        assert documents_now(iam, arn) == documents(3, {A, B})
        assert level_now(iam, arn) is level
    assert write(iam, Change(release=A), 3).answer()["scopes"] == ["profile:bbbbbbbb"]
    assert write(iam, Change(release_all=True), 3).scopes == frozenset()
    assert documents_now(iam, SWEEP) == documents(3)


def test_a_brake_policy_somebody_deleted_comes_back_with_what_the_sweep_still_knows():
    iam = FakePolicies()
    install(iam)
    write(iam, Change(stop=A))
    del iam.policies[BRAKE]
    with pytest.raises(RefusedError, match=r"bedrock-spend-brake is not ours .there is none.: deploy"):
        write(iam)
    install(iam)
    assert scopes_now(iam) == {A}


def test_what_does_not_fit_is_refused_and_nothing_is_changed():
    iam = FakePolicies()
    install(iam)
    before = iam.calls

    def full(_: frozenset[Scope]) -> Mapping[Level, Document]:
        msg = "release a narrow stop first"
        raise RefusedError(msg)

    with pytest.raises(RefusedError):
        installing.write(Change(stop=A), InstallTools(OWN, full, {}, iam))
    assert iam.calls == before


def test_a_policy_of_somebody_elses_is_refused_and_left_alone():
    foreign = Version("v1", {"Statement": [{"Sid": "Theirs"}]}, is_default=True)
    iam = FakePolicies({BRAKE: [foreign]}, owners={BRAKE: "us"})
    with pytest.raises(ForeignPolicyError, match="choose another prefix"):
        install(iam)
    installing.remove(OWN, iam)
    assert iam.policies == {BRAKE: [foreign]}


def test_a_group_of_somebody_elses_is_refused_and_left_alone():
    iam = FakePolicies(groups={"bedrock-spend-deny": Group("/", ("dev",))})
    with pytest.raises(ForeignPolicyError, match="the group /bedrock-spend-deny is not the guardrail's"):
        install(iam)
    installing.remove(OWN, iam)
    assert iam.policies == {}
    assert iam.groups == {"bedrock-spend-deny": Group("/", ("dev",))}


def test_another_deployment_is_refused_and_its_destroy_takes_nothing_away():
    iam = FakePolicies()
    install(iam)
    pull(iam, Level.STOP)
    iam.attached[BRAKE] = {"role/agent"}
    them = Own(BRAKE, SWEEP, DENY, "/bedrock-spend/", "them")
    with pytest.raises(ForeignPolicyError, match="belongs to us, not to them"):
        installing.install(tools(iam, 2, them))
    with pytest.raises(RefusedError, match="it belongs to us"):
        installing.write(Change(stop=A), tools(iam, 1, them))
    installing.remove(them, iam)
    assert level_now(iam) is Level.STOP
    assert iam.attached[BRAKE] == {"role/agent"}
    assert set(iam.groups) == set(GROUPS)


def test_what_somebody_added_by_hand_gives_way_when_room_is_needed():
    iam = FakePolicies()
    install(iam)
    for name in ("Theirs", "Too"):
        iam.create_version(BRAKE, {"Statement": [{"Sid": name}]})
    install(iam, 2)
    assert documents_now(iam, BRAKE) == documents(2)


def test_a_foreign_default_version_does_not_make_the_writer_forget_what_is_stopped_alone():
    iam = FakePolicies()
    install(iam)
    write(iam, Change(stop=A))
    iam.replace(BRAKE, {"Statement": [{"Sid": "Theirs"}]})
    assert write(iam, edition=2).scopes == {A}


def test_removing_releases_and_detaches_before_it_deletes():
    iam = FakePolicies()
    install(iam)
    write(iam, Change(stop=A))
    pull(iam, Level.STOP)
    iam.attached[BRAKE] = {"role/agent", "user/dev"}
    iam.attached[DENY] = {"role/agent"}
    iam.groups["bedrock-spend-deny"] = Group("/bedrock-spend/", ("full",), frozenset({DENY}))
    installing.remove(OWN, iam)
    assert iam.policies == {}
    assert iam.groups == {}
    assert iam.attached == {BRAKE: set(), DENY: set()}
    installing.remove(OWN, iam)


def test_a_holder_iam_lets_nobody_detach_does_not_keep_the_others_and_is_named(monkeypatch):
    iam = FakePolicies()
    install(iam)
    pull(iam, Level.STOP)
    iam.attached[SWEEP] = {"role/AWSReservedSSO_Dev_0", "role/a", "user/b"}
    iam.attached[BRAKE] = {"role/c"}
    detach = iam.detach

    def refusing(arn: str, holder: str) -> None:
        if "SSO" in holder:
            raise refused("iam:DetachRolePolicy", "UnmodifiableEntity")
        detach(arn, holder)

    monkeypatch.setattr(iam, "detach", refusing)
    with pytest.raises(UnfinishedError, match=r"permission set.*AWSReservedSSO_Dev_0"):
        installing.remove(OWN, iam)
    assert iam.attached[SWEEP] == {"role/AWSReservedSSO_Dev_0"}
    assert level_now(iam, SWEEP) is Level.RELEASED
    assert set(iam.policies) == {SWEEP}


@pytest.mark.parametrize(
    ("event", "change"),
    [
        ({"source": "prices"}, UP_TO_DATE),
        ({"source": "kill", "stop": "profile:aaaaaaaa"}, Change(stop=A)),
        ({"source": "meter", "stop": "profile:aaaaaaaa"}, Change(stop=A)),
        ({"source": "release", "release": "profile:aaaaaaaa"}, Change(release=A)),
        ({"source": "release", "release": "all-narrow"}, Change(release_all=True)),
    ],
)
def test_the_functions_of_the_guardrail_are_understood(event: object, change: Change):
    assert parse_change(event, "123456789012") == change


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        [],
        "prices",
        {"source": "prices", "stop": "profile:aaaaaaaa"},
        {"source": "somebody", "stop": "profile:aaaaaaaa"},
        {"source": "kill"},
        {"source": "kill", "stop": ["profile:aaaaaaaa"]},
        {"source": "kill", "stop": "all-narrow"},
        {"source": "kill", "stop": "role/agent"},
        {"source": "release", "release": "user/dev"},
        {"source": "kill", "stop": "profile:aaaaaaaa", "release": "profile:bbbbbbbb"},
        {"source": "kill", "stop": "profile:aaaaaaaa", "Documents": {}},
        {"source": "kill", "stop": "arn:aws:bedrock:us-east-1:999999999999:application-inference-profile/aaaaaaaa"},
        {"RequestType": "Update", "ResourceProperties": {"Documents": {}}},
    ],
)
def test_any_other_event_is_refused(event: object):
    with pytest.raises(RefusedError, match="nothing was"):
        parse_change(event, "123456789012")


editions = st.fixed_dictionaries({level: st.integers(1, 3) for level in Level})
narrow = st.frozensets(st.sampled_from([A, B]))


@given(
    level=st.sampled_from(Level),
    first=editions,
    second=editions,
    before=narrow,
    crash_at=st.integers(1, 25),
    after_effect=st.booleans(),
    rolled_back=st.booleans(),
)
def test_a_crash_anywhere_is_repaired_by_the_next_run_and_never_moves_the_level(
    level: Level,
    first: Mapping[Level, int],
    second: Mapping[Level, int],
    before: frozenset[Scope],
    crash_at: int,
    after_effect: bool,
    rolled_back: bool,
):
    iam = FakePolicies()
    install(iam, first)
    for scope in before:
        installing.write(Change(stop=scope), tools(iam, first))
    pull(iam, level)
    seen: set[tuple[Level | None, frozenset[Scope]]] = set()
    iam.watch = lambda: seen.add((level_now(iam), frozenset(scopes_now(iam))))
    iam.crash_at, iam.crash_after_effect = iam.calls + crash_at, after_effect
    with suppress(AwsCallError):
        install(iam, second)
    iam.crash_at = None
    wanted = first if rolled_back else second
    written = install(iam, wanted)
    assert seen <= {(level, before)}
    for arn in (BRAKE, SWEEP):
        assert level_now(iam, arn) is level
        assert documents_now(iam, arn) == documents(wanted, before)
    assert written.scopes == before
    assert len(iam.policies[DENY]) == 1


@given(
    level=st.sampled_from(Level),
    before=narrow,
    change=st.sampled_from([Change(stop=A), Change(release=A), Change(release_all=True), Change(stop=C)]),
    crash_at=st.integers(1, 25),
    after_effect=st.booleans(),
)
def test_a_narrow_stop_that_crashed_is_finished_by_the_next_and_every_moment_has_a_version_to_stop_with(
    level: Level, before: frozenset[Scope], change: Change, crash_at: int, after_effect: bool
):
    iam = FakePolicies()
    install(iam)
    for scope in before:
        write(iam, Change(stop=scope))
    pull(iam, level)

    def look() -> None:
        assert level_now(iam) is level
        assert frozenset(scopes_now(iam)) in {before, change(before)}
        assert {each.level for arn in (BRAKE, SWEEP) for each in iam.policies[arn]} == set(Level)

    iam.watch = look
    iam.crash_at, iam.crash_after_effect = iam.calls + crash_at, after_effect
    with suppress(AwsCallError):
        write(iam, change)
    iam.crash_at = None
    # Whoever comes next, what is left is one of the two; the same again finishes it.
    assert install(iam).scopes in {before, change(before)}
    assert write(iam, change).scopes == change(before)
    for arn in (BRAKE, SWEEP):
        assert documents_now(iam, arn) == documents(1, change(before))


class Turns:
    """Lets several run side by side, call by call, in the order a test draws."""

    def __init__(self, iam: FakePolicies, order: Sequence[int]) -> None:
        self._iam, self._order = iam, list(order)
        self._condition = threading.Condition()
        self._waiting: set[int] = set()
        self._running: set[int] = set()
        self._current: int | None = None
        self._mine = threading.local()
        iam.turn = self._turn

    def _turn(self, call: str) -> None:
        del call
        me = getattr(self._mine, "number", None)
        if me is None:
            return  # a call of the test itself
        with self._condition:
            self._waiting.add(me)
            self._next()
            self._condition.wait_for(lambda: self._current == me)
            self._current = None
            self._waiting.discard(me)

    def _next(self) -> None:
        # Only when all are at a call is it somebody's turn: so what happens depends on the order drawn alone.
        if self._current is None and self._waiting and self._waiting == self._running:
            wanted = self._order.pop(0) if self._order else 0
            self._current = sorted(self._waiting)[wanted % len(self._waiting)]
            self._condition.notify_all()

    def run(self, works: Sequence[Callable[[], object]]) -> list[BaseException | None]:
        """Run all; return what each ended with."""
        ends: list[BaseException | None] = [None] * len(works)
        self._running = set(range(len(works)))

        def one(number: int) -> None:
            self._mine.number = number
            try:
                works[number]()
            except (AwsCallError, UnfinishedError, AssertionError) as error:
                ends[number] = error
            finally:
                with self._condition:
                    self._running.discard(number)
                    self._next()

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(works))]
        for each in threads:
            each.start()
        for each in threads:
            each.join(timeout=20)
            assert not each.is_alive(), "the writers wait for each other for ever"
        self._iam.turn = lambda _call: None
        return ends


CHANGES = [UP_TO_DATE, Change(stop=A), Change(stop=B), Change(release=C)]


@given(
    order=st.lists(st.integers(0, 2), max_size=120),
    level=st.sampled_from(Level),
    changes=st.lists(st.sampled_from(CHANGES), min_size=2, max_size=3, unique=True),
)
@settings(deadline=None, max_examples=150)
def test_writers_side_by_side_lose_no_scope_whatever_the_order_of_their_calls(
    order: list[int], level: Level, changes: list[Change]
):
    iam = FakePolicies()
    install(iam)
    write(iam, Change(stop=C))
    pull(iam, level)

    def look() -> None:
        assert level_now(iam) is level
        assert {each.level for each in iam.policies[BRAKE]} == set(Level), "there is always a version to stop with"
        assert len(iam.policies[BRAKE]) <= MAX_VERSIONS

    iam.watch = look
    ends = Turns(iam, order).run([lambda change=each: write(iam, change) for each in changes])  # type: ignore[misc]
    expected = frozenset({C})
    for change, end in zip(changes, ends, strict=True):
        assert end is None or isinstance(end, UnfinishedError), end
        if end is None:
            expected = change(expected)
    finished = {each for each, end in zip(changes, ends, strict=True) if end is None}
    for scope in (A, B):
        if Change(stop=scope) in finished:
            assert scope in scopes_now(iam)
    if Change(release=C) in finished:
        assert C not in scopes_now(iam)
    if len(finished) == len(changes):
        for arn in (BRAKE, SWEEP):
            assert documents_now(iam, arn) == documents(1, expected)


@given(order=st.lists(st.integers(0, 2), max_size=80), change=st.sampled_from(CHANGES))
@settings(deadline=None, max_examples=150)
def test_a_kill_in_between_is_undone_at_most_until_it_is_asserted_again_and_costs_no_scope(
    order: list[int], change: Change
):
    iam = FakePolicies()
    install(iam)
    write(iam, Change(stop=C))

    def kill() -> None:
        # As the stop function does: what it read may be gone, then it reads again.
        for _ in range(9):
            found = iam.versions(BRAKE) or ()
            newest = max((each.number for each in found if each.level is Level.STOP), default=0)
            try:
                iam.set_default(BRAKE, f"v{newest}")
            except AwsCallError:
                continue
            return

    ends = Turns(iam, order).run([lambda: write(iam, change), kill])
    assert ends == [None, None]
    kill()
    assert level_now(iam) is Level.STOP
    assert scopes_now(iam) == change(frozenset({C}))


@given(level=st.sampled_from(Level), crash_at=st.integers(1, 30), after_effect=st.booleans())
def test_a_removal_that_crashed_is_finished_by_the_next(level: Level, crash_at: int, after_effect: bool):
    iam = FakePolicies()
    install(iam)
    write(iam, Change(stop=A))
    pull(iam, level)
    iam.attached[BRAKE] = {"role/a", "role/b"}
    iam.attached[DENY] = {"user/c"}
    iam.groups["bedrock-spend-sweep"] = Group("/bedrock-spend/", ("d", "e"), frozenset({SWEEP}))
    iam.crash_at, iam.crash_after_effect = iam.calls + crash_at, after_effect
    with suppress(AwsCallError, UnfinishedError):
        installing.remove(OWN, iam)
    iam.crash_at = None
    installing.remove(OWN, iam)
    assert iam.policies == {}
    assert iam.groups == {}
