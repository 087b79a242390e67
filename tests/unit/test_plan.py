"""Plans are values: what a stop, a release and arming would do, in order."""

from dataclasses import replace

from lambdas.core.levels import Level
from lambdas.core.plan import (
    Attach,
    BrakeState,
    Detach,
    Job,
    Join,
    Leave,
    PolicyState,
    StopJob,
    Switch,
    holder_of,
    plan_alone,
    plan_jobs,
    plan_leaving,
    plan_sweep,
    plan_switch,
    switch_to,
)
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from lambdas.core.scopes import parse_scope

BRAKE = "arn:aws:iam::123456789012:policy/bedrock-spend-brake"
SWEEP = "arn:aws:iam::123456789012:policy/bedrock-spend-sweep"
DENY = "arn:aws:iam::123456789012:policy/bedrock-spend-deny"
VERSIONS = {Level.RELEASED: "v3", Level.STEP_DOWN: "v2", Level.STOP: "v1"}
SPARED = Spared(("role/break-glass", "user/ops/*"))
JOB = Job("us-east-1", "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abc", "nightly")


def brake_state(brake=Level.RELEASED, sweep=Level.RELEASED, *, versions=VERSIONS):
    return BrakeState(PolicyState(BRAKE, brake, versions), PolicyState(SWEEP, sweep, versions))


def principal(name, *attached, kind=PrincipalKind.ROLE, path="/", capability=Capability.WILDCARD):
    arn = f"arn:aws:iam::123456789012:{kind}{path}{name}"
    return Principal(arn, kind, name, path, capability, frozenset(attached))


SERVICE_LINKED = principal("AWSServiceRoleForX", path="/aws-service-role/x.amazonaws.com/")
IDENTITY_CENTER = principal("AWSReservedSSO_Dev_0123456789abcdef", path="/aws-reserved/sso.amazonaws.com/")


def test_a_stop_switches_the_brake_before_the_sweep():
    plan = plan_switch(brake_state(), Level.STOP)
    assert plan.steps == (Switch(BRAKE, Level.STOP, "v1"), Switch(SWEEP, Level.STOP, "v1"))
    assert plan.uncovered == {}


def test_what_is_at_its_level_already_is_not_switched():
    assert plan_switch(brake_state(Level.STOP, Level.STOP), Level.STOP).steps == ()
    half_way = plan_switch(brake_state(Level.STOP, Level.RELEASED), Level.STOP)
    assert half_way.steps == (Switch(SWEEP, Level.STOP, "v1"),)


def test_a_default_version_of_somebody_elses_is_switched_away():
    assert plan_switch(brake_state(None, Level.STOP), Level.STOP).steps == (Switch(BRAKE, Level.STOP, "v1"),)


def test_each_policy_is_switched_to_its_own_version():
    state = BrakeState(
        PolicyState(BRAKE, Level.RELEASED, {Level.STEP_DOWN: "v7"}),
        PolicyState(SWEEP, Level.STOP, {Level.STEP_DOWN: "v4"}),
    )
    assert plan_switch(state, Level.STEP_DOWN).steps == (
        Switch(BRAKE, Level.STEP_DOWN, "v7"),
        Switch(SWEEP, Level.STEP_DOWN, "v4"),
    )


def test_a_level_without_a_version_is_left_out():
    without_stop = {Level.RELEASED: "v3"}
    assert switch_to(PolicyState(BRAKE, Level.RELEASED, without_stop), Level.STOP) == ()
    assert plan_switch(brake_state(versions={}), Level.STOP).steps == ()


def test_a_sweep_reaches_the_capable_that_are_not_armed():
    people = [
        principal("agents", capability=Capability.NAMED),
        principal("admin"),
        principal("dev", kind=PrincipalKind.USER),
    ]
    plan = plan_sweep(brake_state(), people, SPARED)
    assert plan.steps == (Attach(SWEEP, "role/agents"), Attach(SWEEP, "role/admin"), Attach(SWEEP, "user/dev"))
    assert plan.uncovered == {}


def test_a_sweep_leaves_alone_whom_it_must():
    people = [
        principal("armed", BRAKE),
        principal("swept-already", SWEEP),
        principal("both", BRAKE, SWEEP, "arn:aws:iam::aws:policy/AdministratorAccess"),
        principal("break-glass"),
        principal("on-call", kind=PrincipalKind.USER, path="/ops/"),
        principal("stop-function", path="/bedrock-spend/", capability=Capability.NONE),
        principal("web", capability=Capability.NONE),
    ]
    plan = plan_sweep(brake_state(), people, SPARED)
    assert plan.steps == ()
    assert plan.uncovered == {}


def test_a_policy_of_a_similar_name_does_not_count_as_armed():
    foreign = f"{BRAKE}-2"
    assert plan_sweep(brake_state(), [principal("x", foreign)], SPARED).steps == (Attach(SWEEP, "role/x"),)


def test_a_sweep_names_whom_it_cannot_reach_and_what_to_do():
    plan = plan_sweep(brake_state(), [SERVICE_LINKED, IDENTITY_CENTER, principal("agents")], SPARED)
    assert plan.steps == (Attach(SWEEP, "role/agents"),)
    assert set(plan.uncovered) == {SERVICE_LINKED.arn, IDENTITY_CENTER.arn}
    assert "service-linked role" in plan.uncovered[SERVICE_LINKED.arn]
    assert "permission set" in plan.uncovered[IDENTITY_CENTER.arn]


def test_an_unmodifiable_role_that_cannot_spend_or_is_armed_is_no_gap():
    incapable = principal("AWSServiceRoleForY", path="/aws-service-role/y/", capability=Capability.NONE)
    # A permission set that references the brake policy arms its roles.
    armed = principal("AWSReservedSSO_Dev_0", BRAKE, path="/aws-reserved/sso.amazonaws.com/")
    assert plan_sweep(brake_state(), [incapable, armed], SPARED).uncovered == {}


def test_a_strangers_role_under_the_guardrails_own_path_is_not_overlooked():
    plan = plan_sweep(brake_state(), [principal("impostor", path="/bedrock-spend/")], SPARED)
    assert plan.steps == (Attach(SWEEP, "role/impostor"),)


def test_jobs_are_stopped_but_for_those_of_exempt_roles():
    theirs = replace(JOB, role_arn="arn:aws:iam::123456789012:role/break-glass")
    others = replace(JOB, role_arn="arn:aws:iam::123456789012:role/service-role/batch")
    assert plan_jobs([JOB, theirs, others], SPARED).steps == (StopJob(JOB), StopJob(others))


def test_work_that_is_not_to_be_stopped_is_named_with_the_reason():
    kept = replace(JOB, kind="provisioned throughput", why_not="goes on costing about $164 an hour")
    plan = plan_jobs([kept, JOB], SPARED)
    assert plan.steps == (StopJob(JOB),)
    assert plan.uncovered == {"provisioned throughput nightly in us-east-1": "goes on costing about $164 an hour"}


def test_leaving_names_everybody_once_in_order():
    plan = plan_leaving(SWEEP, {"user/b", "role/a"}, {"user/c"})
    assert plan.steps == (
        Detach(SWEEP, "role/a"),
        Detach(SWEEP, "user/b"),
        Leave("bedrock-spend-sweep", "user/c"),
    )


def test_a_user_without_a_free_slot_goes_into_the_group_and_a_role_is_named():
    user = replace(principal("dev", kind=PrincipalKind.USER), full=True)
    plan = plan_sweep(brake_state(), [user, replace(principal("agents"), full=True)], SPARED)
    # A role is tried all the same, for its quota may have been raised.
    assert plan.steps == (Join("bedrock-spend-sweep", "user/dev"), Attach(SWEEP, "role/agents"))


def test_a_user_without_a_slot_or_a_group_to_go_to_is_tried():
    user = replace(principal("dev", kind=PrincipalKind.USER), full=True, groups_full=True)
    assert plan_sweep(brake_state(), [user], SPARED).steps == (Attach(SWEEP, "user/dev"),)


def test_who_is_in_the_group_already_is_reached():
    user = replace(principal("dev", kind=PrincipalKind.USER), full=True, groups=("team", "bedrock-spend-sweep"))
    group = principal("bedrock-spend-sweep", SWEEP, kind=PrincipalKind.GROUP, path="/bedrock-spend/")
    assert plan_sweep(brake_state(), [user, group], SPARED).steps == ()
    # Somebody took the policy off the group.
    emptied = replace(group, attached=frozenset())
    assert plan_sweep(brake_state(), [user, emptied], SPARED).steps == (Join("bedrock-spend-sweep", "user/dev"),)


def test_groups_are_never_attached_to():
    assert plan_sweep(brake_state(), [principal("devs", kind=PrincipalKind.GROUP)], SPARED).steps == ()


ALONE = (parse_scope("role/agents"), parse_scope("user/dev"), parse_scope("model:anthropic.claude-*"))


def test_roles_and_users_that_are_stopped_alone_get_the_deny_policy():
    people = [principal("agents"), replace(principal("dev", kind=PrincipalKind.USER), full=True), principal("admin")]
    plan = plan_alone(DENY, (), ALONE, people, SPARED)
    assert plan.steps == (Attach(DENY, "role/agents"), Join("bedrock-spend-deny", "user/dev"))


def test_who_is_denied_alone_already_is_left():
    assert plan_alone(DENY, {"role/agents", "user/dev"}, ALONE, [principal("agents")], SPARED).steps == ()


def test_when_nobody_can_be_listed_the_names_are_taken_at_their_word():
    assert plan_alone(DENY, (), ALONE[:1], [], SPARED).steps == (Attach(DENY, "role/agents"),)


def test_the_exempt_the_unmodifiable_and_the_missing_are_not_stopped_alone_but_named():
    scopes = [parse_scope(f"role/{each}") for each in ("break-glass", "gone", SERVICE_LINKED.name)]
    plan = plan_alone(DENY, (), scopes, [principal("break-glass"), SERVICE_LINKED], SPARED)
    assert plan.steps == ()
    assert "exempt" in plan.uncovered["role/break-glass"]
    assert "none of that name" in plan.uncovered["role/gone"]
    assert "service-linked" in plan.uncovered[f"role/{SERVICE_LINKED.name}"]


def test_a_holder_is_named_without_its_path():
    assert holder_of(principal("agents", path="/team/a/")) == "role/agents"
    assert holder_of(principal("dev", kind=PrincipalKind.USER)) == "user/dev"


def test_the_state_follows_the_brake_and_a_foreign_default_counts_as_released():
    assert brake_state(Level.STOP, Level.RELEASED).level is Level.STOP
    assert brake_state(None, Level.STOP).level is Level.RELEASED


def test_steps_read_as_words():
    assert str(Switch(BRAKE, Level.STEP_DOWN, "v2")) == "switch bedrock-spend-brake to step-down (v2)"
    assert str(Attach(SWEEP, "role/agents")) == "attach bedrock-spend-sweep to role/agents"
    assert str(Detach(SWEEP, "user/dev")) == "detach bedrock-spend-sweep from user/dev"
    assert str(StopJob(JOB)) == "stop batch job nightly in us-east-1"


def test_the_state_is_recorded_in_words():
    state = BrakeState(
        PolicyState(BRAKE, Level.STOP, VERSIONS, default_version="v1"),
        PolicyState(SWEEP, Level.STOP, VERSIONS, default_version="v4"),
    )
    assert state.words() == {"level": "stop", "bedrock-spend-brake": "v1", "bedrock-spend-sweep": "v4"}
