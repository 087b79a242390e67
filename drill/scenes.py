"""The scenes: burn, stop, release, bill, kill, silence, stop one alone, update, destroy. Each checks what it claims."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from drill.emulator import assembly, stimuli
from drill.emulator.emulator import Credentials, Emulator
from drill.holdings import Holdings, equip, may_run
from drill.inventory import Inventory, iam_writes, inventory, key_status, reserved_concurrency, snapshot
from drill.people import MODEL, OTHER_MODEL, Person, arrive, hire, may_invoke, may_list_buckets
from drill.story import SceneError, Story, check
from lambdas.core import console
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Kind
from lambdas.settings import Settings

ADAPTATIONS = (
    "drill-root-assets",
    "drill-usage-metrics",
    "drill-tripwire",
    "drill-schedule-fired",
    "drill-budget-spend",
    "drill-cloudtrail-event",
    "drill-silent-meter",
)
"""What the drill itself does in place of AWS; see `drill/emulator/adaptations.toml`."""

_PATIENCE = timedelta(seconds=150)
"""The meter is due every 60 to 70 seconds here; two turns and a little."""
_PROMPT = "All work and no play makes Jack a dull boy. " * 2400
_PAUSE_SECONDS = 0.3
_SOON = 30
"""Seconds within which what is not waited for the clock must have happened."""
_MODEL_SCOPE = f"model:{MODEL.partition('.')[2]}"
_POLICIES_TYPE = "Custom::BedrockSpendBrake"
_BATCH_JOB = "nightly-embeddings"
_SPARED_JOB = "weekly-report"
_ENDED = {"Stopping", "Stopped"}
_MINUTELY = "rate(1 minute)"
"""How often the meter's rule runs, and no other."""
_BUDGET_MESSAGE = """AWS Budget Notification {date}
AWS Account {account}

Dear AWS Customer,

You requested that we alert you when the ACTUAL Cost associated with your {budget} budget is greater than {limit} \
{period} is {spent}. You can find additional details below and by accessing the AWS Budgets dashboard [1].

Budget Name: {budget}
Budget Type: Cost
Budgeted Amount: {limit}
Alert Type: ACTUAL
Alert Threshold: > {limit}
ACTUAL Amount: {spent}

[1] https://console.aws.amazon.com/billing/home#/budgets
"""

_MONTHLY = {"limit": "$300.00", "period": "for the current month. The ACTUAL Cost associated with this budget"}
_DAILY = {"limit": "$50.00", "period": "per day. Yesterday, the ACTUAL Cost associated with this budget"}
_TRILLIONS = Decimal(7_000_000_000_000)
"""What a bug in units had AWS Budgets tell in July 2026."""
_LACKING = ("no CloudTrail trail ", "could not be checked: quotas: ")
"""How what the self-watch finds in the emulator begins: none of it is a part of the guardrail."""
_REFUSED = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}


_FACTS = (
    "trip_to_denied_seconds",
    "spend_at_trip_usd",
    "spend_at_denied_usd",
    "limit_usd",
    "iam_writes_to_stop",
    "iam_identical_after_release",
    "resources_left_after_destroy",
)


@dataclass(slots=True)
class Drill:
    """One run over one emulator and one adapted assembly."""

    emulator: Emulator
    story: Story
    assembly: Path
    stack: str
    settings: Settings
    people: tuple[Person, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(_FACTS))
    """What goes into the report; None is what the drill did not get to know."""
    killed: bool = False
    """Whether the last word was a stop."""
    denied: dict[str, bool] = field(default_factory=dict)
    allowed: dict[str, bool] = field(default_factory=dict)
    holdings: Holdings | None = None
    before: dict[str, Any] = field(default_factory=dict)
    """The account as it is in peace."""
    planned: list[str] = field(default_factory=list)
    """The steps of a kill, as the plan made right before it has them."""
    before_deployment: dict[str, Any] = field(default_factory=dict)
    undeployed: Inventory = frozenset()
    job_arn: str = ""

    def play(self) -> None:
        """Play all scenes; destroy comes last whatever happened before."""
        scene = self.story.scene
        scene("deploy", self.deploy)
        scene("peace", self.peace)
        scene("the guardrail looks at itself", self.watch_itself)
        scene("burn until the meter stops it", self.burn)
        scene("everybody who can spend is stopped", self.stopped)
        scene("release with an allowance", self.release_with_allowance)
        scene("a budget notification stops it", self.budget)
        scene("release after the budget", self.release_again)
        scene("bills of a day, and of trillions", self.bills)
        scene("a plan touches nothing", self.plan)
        scene("kill with {}", self.kill)
        scene("release after the kill", self.release_after_kill)
        scene("an allowance ends, another one holds", self.allow)
        scene("the meter falls silent", self.silence)
        scene("whoever is on call may do three things", self.on_call)
        scene("the live drill stops its canary", self.live_drill)
        scene("a second deployment changes nothing", self.deploy_again)
        scene("one agent is stopped alone", self.stop_one_agent)
        scene("one model is stopped alone", self.stop_one_model)
        scene("an armed role can be deleted", self.delete_armed)
        scene("updates during a stop keep it closed", self.update)
        scene("destroy during the stop", self.destroy, always=True)

    # --- scenes ----------------------------------------------------------------------------------------------

    def deploy(self) -> str:
        """Let everybody arrive, then deploy the stack as written."""
        self.people = arrive(self.emulator)
        self.job_arn = self._start_batch_job(_BATCH_JOB)
        self.holdings = equip(self.emulator, "data-scientist", self.people[-1].arn)
        self.before_deployment = snapshot(self.emulator)
        self.undeployed = inventory(self.emulator)
        self.outputs = assembly.deploy(self.emulator, self.assembly, self.stack)
        pages = self.emulator.client("cloudformation").get_paginator("list_stack_resources")
        count = sum(len(page["StackResourceSummaries"]) for page in pages.paginate(StackName=self.stack))
        self.story.tell(f"deployed: {count} resources, mode {self.outputs['Mode']}, limits {self.outputs['Limits']}")
        return f"{count} resources through CloudFormation; limits {self.outputs['Limits']}"

    def peace(self) -> str:
        """See that the right ones are armed and nobody is in anybody's way."""
        armed = self._holders("brake")
        check(armed == {each.holder for each in self.people if each.armed}, f"armed are {sorted(armed)}")
        for each in self.people:
            check(may_invoke(self.emulator, each) is each.may_invoke, f"{each.holder} is not as free as before")
        self._expect_held(stopped=False)
        self.before = self._snapshot()
        self._alarm_wakes_the_meter()
        self.story.tell(f"armed in peace: {', '.join(sorted(armed))}; everybody works")
        return f"armed: {', '.join(sorted(armed))}; everybody works as before"

    def watch_itself(self) -> str:
        """Have the guardrail look at itself, then again with one of its rules off."""
        lacking = self._found_by_itself()
        mine = [each for each in lacking if not each.startswith(_LACKING)]
        check(not mine, f"it finds fault with itself: {mine}")
        check(any(each.startswith(_LACKING[0]) for each in lacking), f"it does not miss a trail: {lacking}")
        rule = self._rule(lambda each: each.get("ScheduleExpression") == _MINUTELY)
        events = self.emulator.client("events")
        events.disable_rule(Name=rule)
        found = [each for each in self._found_by_itself() if each not in lacking]
        events.enable_rule(Name=rule)
        check(len(found) == 1, f"with its clock off it finds {found}")
        check(f"rule {rule} in {self.emulator.region} is disabled" in found[0], f"with its clock off it finds {found}")
        check(self._found_by_itself() == lacking, "it still finds fault with its clock, which runs again")
        status = self._invoke("StatusFunction", {})
        told = [each for each in status["watch"] if any(each.startswith(one) for one in lacking)]
        check(len(told) == len(lacking), f"the status does not tell what was found: {status['watch']}")
        self._measured("what the guardrail misses in the emulator, when it looks at itself", "; ".join(lacking))
        return f"nothing wrong with its own parts, {len(lacking)} things missing in the account; a rule off is seen"

    def burn(self) -> str:
        """Let the agent loop until its live session is denied."""
        agent, day = self.people[0], self.settings.limits[0]
        self.facts["limit_usd"] = day.usd
        prices = PriceTable.load().quote(MODEL, datetime.now(UTC)).price
        runtime = self.emulator.client("bedrock-runtime", agent.session)
        spend, calls, began = Decimal(0), 0, time.monotonic()
        tripped: float | None = None
        messages = [{"role": "user", "content": [{"text": _PROMPT}]}]
        reaction = Decimal(self.settings.reaction.total_seconds()) / 60
        self.story.mark("loop", "the agent begins to loop")
        self.story.sample(spend)
        while time.monotonic() - began < _PATIENCE.total_seconds():
            try:
                usage = runtime.converse(modelId=MODEL, messages=messages)["usage"]
            except ClientError as error:
                check(error.response["Error"]["Code"] == "AccessDeniedException", f"the agent's call failed: {error}")
                return self._agent_denied(tripped, spend, calls)
            calls += 1
            spend += prices.of(Kind.INPUT) * usage["inputTokens"] + prices.of(Kind.OUTPUT) * usage["outputTokens"]
            self._publish(usage)
            if calls == 1:
                self._trip("ALARM")
                self.story.tell("the tripwire rings at the first call and wakes the meter")
            self.story.sample(spend)
            rate = spend * 60 / Decimal(max(time.monotonic() - began, 1))
            if tripped is None and spend + min(rate, spend) * reaction >= day.usd:
                tripped = self.story.mark(
                    "trip", f"${spend:.2f} spent: with usage on its way the limit of {day} is reached"
                )
                self.facts["spend_at_trip_usd"] = spend
            time.sleep(_PAUSE_SECONDS)
        msg = f"the agent still burns after {_PATIENCE.total_seconds():.0f} s and ${spend:.2f}"
        raise SceneError(msg)

    def stopped(self) -> str:
        """See that the stop reached everybody it claims and nobody else."""
        record = self._wait_for_record("stop", "level", "stop")
        done: list[str] = record["done"]
        switch = next((index for index, step in enumerate(done) if step.startswith("switch bedrock-spend-brake")), None)
        check(switch is not None, f"the stop did not switch the brake: {done}")
        self.story.mark_past("stop", datetime.fromisoformat(record["at"]), f"the stop begins: {record['reason']}")
        check(record["verified"] and not record["failed"], f"the stop was not complete: {record['failed']}")
        began = datetime.fromisoformat(record["at"])
        writes = iam_writes(self.emulator, began)
        switches = (switch or 0) + 1
        self.facts |= {"iam_writes_to_stop": switches, "iam_writes_with_sweep": writes.total()}
        self._measured("IAM writes of that stop, with the sweep and the API key", _counted(writes))
        self._expect_stopped(into=self.denied)
        status = self._job_status(self.job_arn)
        check(status in _ENDED, f"the batch job is {status}")
        self._unchanged_without_switch()
        again = len(self._records("stop"))
        self._tick()
        check(len(self._records("stop")) == again, "a tick during the stop acted although nothing was left to do")
        return f"{switches} IAM write for all armed, {writes.total()} with sweep and API key; {_BATCH_JOB} is {status}"

    def release_with_allowance(self) -> str:
        """Release by the typed word; the allowance keeps the meter from stopping at once."""
        refused = self._invoke("ReleaseFunction", {"confirm": "yes", "reason": "wrong word"}, fails=True)
        check("nothing was released" in json.dumps(refused), f"a release without the word was not refused: {refused}")
        request = {
            "confirm": "RELEASE",
            "reason": "the loop was fixed",
            "by": "the drill",
            "allowance": {"usd": 1000, "hours": 1},
        }
        answer = self._invoke("ReleaseFunction", request)
        self.story.mark("release", "released with an allowance of $1000 for an hour")
        self._expect_as_before(into=self.allowed)
        self._tick()
        self._expect_as_before()
        return str(answer["summary"])

    def budget(self) -> str:
        """Send what AWS Budgets sends; only our budget's confirmed figure stops anything."""
        budget = self.outputs["BudgetName"]
        text = self._budget_message(budget, "$4,321.50", _MONTHLY)
        for hostile in (text.replace(self.emulator.account, "999999999999"), text, "garbled \x00 \ufffd"):
            # Another account's; ours while the budget itself says nothing was spent; nothing anybody can read.
            self._notify(hostile)
        time.sleep(2)
        self._expect_as_before()
        stimuli.set_budget_spend(self.emulator, budget, Decimal("4321.50"))
        stops = len(self._records("stop"))
        for _ in range(2):  # SNS delivers at least once
            self._notify(text)
        self.story.mark("budget", "AWS Budgets: $4,321.50 of $300.00")
        self._wait_until_denied(self.people[0])
        self._wait_for_record("stop", "reason", f"AWS Budgets: $4321.50 of $300.00 this month ({budget})", after=stops)
        self._expect_stopped()
        return "stopped on the confirmed figure; a foreign, an unconfirmed and a garbled message changed nothing"

    def release_again(self) -> str:
        """Release without a new allowance: the first one still holds."""
        answer = self._invoke("ReleaseFunction", {"confirm": "RELEASE", "reason": "the invoice was a test"})
        self._expect_as_before()
        return str(answer["summary"])

    def bills(self) -> str:
        """Have the budget of the day exceeded, then have that of the month say what cannot be true."""
        budgets = self.emulator.client("budgets").describe_budgets(AccountId=self.emulator.account)["Budgets"]
        daily = next(each["BudgetName"] for each in budgets if each["TimeUnit"] == "DAILY")
        stimuli.set_budget_spend(self.emulator, daily, Decimal("61.07"))
        self._notify(self._budget_message(daily, "$61.07", _DAILY))
        self._wait_until_denied(self.people[0])
        today = f"AWS Budgets: $61.07 of $50.00 on {datetime.now(UTC):%Y-%m-%d} ({daily})"
        self._wait_for_record("stop", "reason", today)
        self._released("the day's bill was a test")

        budget, before = self.outputs["BudgetName"], len(self._records("stop"))
        job = self._start_batch_job(_SPARED_JOB)
        stimuli.set_budget_spend(self.emulator, budget, _TRILLIONS)
        self._notify(self._budget_message(budget, f"${_TRILLIONS:,}.00", _MONTHLY))
        self.story.mark("trillions", f"AWS Budgets: ${_TRILLIONS:,} of $300.00, which cannot be true")
        self._wait_until_denied(self.people[0])
        record = self._wait_for_record("stop", "by", "budget", after=before)
        check("implausible" in record["reason"], f"nothing is said of what cannot be true: {record['reason']}")
        self._expect_stopped()
        status = self._job_status(job)
        check(status not in _ENDED, f"on a figure that cannot be true the batch job is {status}")
        self._released("a bug in units")
        stimuli.set_budget_spend(self.emulator, budget, Decimal(0))
        return f"the day's bill stopped it; on trillions all is denied that comes back, {_SPARED_JOB} is {status}"

    def plan(self) -> str:
        """Ask what a kill would do; it must change nothing, and is held against the kill that follows."""
        before, since = self._snapshot(), datetime.now(UTC)
        answer = self._invoke("StatusFunction", {"plan": "account", "all": True})
        self.planned = answer["steps"]
        check(self.planned, f"a kill would do nothing: {answer['summary']}")
        check(not answer["not_looked_at"], f"the plan could not look at {answer['not_looked_at']}")
        writes = iam_writes(self.emulator, since)
        check(not writes, f"the plan wrote to IAM: {_counted(writes)}")
        check(self._snapshot() == before, f"the plan changed {_difference(before, self._snapshot())}")
        self._expect_as_before()
        return str(answer["summary"])

    def kill(self) -> str:
        """Kill as the console does it, with the emptiest event."""
        refused = self._invoke("KillFunction", {"scope": "everything but me"}, fails=True)
        check("nothing was stopped" in json.dumps(refused), f"an invalid scope was not refused: {refused}")
        self._expect_as_before()
        answer, seconds = self._kill({}, lambda: may_invoke(self.emulator, self.people[0]))
        self.story.mark("kill", f"killed by a person: {answer['summary']}")
        self._measured("a person's kill {} to the first AccessDenied", f"{seconds:.1f} s")
        reached = sum(each.stopped for each in self.people)
        proven = f"denied for {reached} of {reached}"
        check(sorted(answer["done"]) == sorted(self.planned), f"planned was {self.planned}, done is {answer['done']}")
        self._measured("steps of the kill, each as the plan right before it had them", str(len(self.planned)))
        check(proven in answer["proof"], f"IAM's simulator does not bear the stop out: {answer['proof']}")
        self._measured("IAM's simulator about everybody who is stopped", proven)
        self._expect_stopped()
        status = self._invoke("StatusFunction", {})
        check(status["level"] == "stop", f"the status says {status['summary']}")
        return str(answer["summary"])

    def release_after_kill(self) -> str:
        """Release, and compare all of IAM with what it was."""
        answer = self._invoke("ReleaseFunction", {"confirm": "RELEASE", "reason": "the drill is over"})
        self.story.mark("release", "released after the kill")
        self._expect_as_before()
        return f"{answer['summary']} IAM, API keys and concurrency are byte-identical to before the first stop."

    def allow(self) -> str:
        """End the allowance, which stops; give another, which releases nothing; release, and it holds."""
        before = len(self._records("stop"))
        ended = self._allow({"cancel": "all"})
        self._tick()
        self._wait_until_denied(self.people[0])
        record = self._wait_for_record("stop", "by", "meter", after=before)
        self.story.mark("no allowance", f"{ended['summary']} The meter stops: {record['reason']}")
        given = self._allow({"allowance": {"usd": 200, "hours": 4}})
        self._expect_stopped()
        status = self._invoke("StatusFunction", {})
        raised = f"{self.settings.limits[0]}, raised to ${self.settings.limits[0].usd + 200:.2f}"
        check(raised in status["limits"], f"the limits are {status['limits']}, not {raised}")
        check(len(status["allowances"]) == 1, f"the allowances are {status['allowances']}")
        self._released("allowed to go on")
        self._tick()
        self._expect_as_before()
        return f"{ended['summary']} Stopped: {record['reason']}. {given['summary']} Released, it goes on."

    def silence(self) -> str:
        """Let the heartbeat alarm ring, with a meter that ran lately and with one that has not."""
        events, alarm = self.emulator.client("events"), self.settings.alarm("heartbeat")
        clock = self._rule(lambda each: each.get("ScheduleExpression") == _MINUTELY)
        events.disable_rule(Name=clock)
        before = len(self._records("stop"))
        self._set_alarm(alarm, "ALARM")
        time.sleep(2)
        self._set_alarm(alarm, "OK")
        check(len(self._records("stop")) == before, "it stopped although the meter had run a minute ago")
        self._expect_as_before()
        self._age_the_last_read(timedelta(minutes=10))
        began = time.monotonic()
        self._set_alarm(alarm, "ALARM")
        self._wait_until_denied(self.people[0])
        seconds = time.monotonic() - began
        self.story.mark("silence", "the meter is silent for ten minutes: its heartbeat alarm stops the account")
        record = self._wait_for_record("stop", "by", "silence", after=before)
        self._set_alarm(alarm, "OK")
        self._expect_stopped()
        events.enable_rule(Name=clock)
        self._tick()
        self._expect_stopped()
        self._released("the meter runs again")
        self._measured("heartbeat alarm of a silent meter to the first AccessDenied", f"{seconds:.1f} s")
        return f"{record['reason']}; denied after {seconds:.1f} s, and neither the alarm nor the meter released it"

    def on_call(self) -> str:
        """Have somebody with the operator policy alone stop and release, and try what is not theirs."""
        iam, name = self.emulator.client("iam"), "on-call"
        iam.create_user(UserName=name)
        iam.attach_user_policy(UserName=name, PolicyArn=self.outputs["OperatorPolicyArn"])
        key = iam.create_access_key(UserName=name)["AccessKey"]
        caller = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        agent = self.people[0]
        try:
            self._invoke("StatusFunction", {}, caller=caller)
            self._invoke("KillFunction", {"scope": agent.holder, "reason": "on call"}, caller=caller)
            check(not may_invoke(self.emulator, agent), f"{agent.holder} is not denied after the kill by {name}")
            request = {"confirm": "RELEASE", "reason": "it was a drill", "by": name, "scope": agent.holder}
            self._invoke("ReleaseFunction", request, caller=caller)
            seen = self._sees(caller)
            refused = self._refused(caller)
        finally:
            iam.delete_access_key(UserName=name, AccessKeyId=caller.access_key_id)
            iam.detach_user_policy(UserName=name, PolicyArn=self.outputs["OperatorPolicyArn"])
            iam.delete_user(UserName=name)
        self._expect_as_before()
        return f"killed and released {agent.holder}; sees {seen}; AccessDenied on {', '.join(refused)}"

    def live_drill(self) -> str:
        """Run the drill that a deployed guardrail has; it touches nobody but its canary."""
        deadline = time.monotonic() + _SOON
        while "measured" not in (answer := self._run(f"{self.settings.prefix}-drill", {})):
            # The meter, which looks after stops by the minute, may just be at it.
            check("in progress" in answer["summary"], f"no drill: {answer['summary']}")
            check(time.monotonic() < deadline, f"no drill in {_SOON} s: {answer['summary']}")
            time.sleep(1)
        measured = answer["measured"]
        status = self._invoke("StatusFunction", {})
        check(status["last_drill"]["measured"] == measured, f"the status tells of {status['last_drill']}")
        self._expect_as_before()
        check("AccessDenied" in measured["denied_with"], f"the canary was denied with {measured['denied_with']}")
        stopped, released = (float(measured[key]) for key in ("stop_seconds_all_denied", "release_seconds"))
        self.story.mark("live drill", f"the live drill: {answer['summary']}")
        self._measured("live drill: a stop of the canary asked for until it is denied", f"{stopped:.1f} s")
        self._measured("live drill: a release asked for until the canary is allowed", f"{released:.1f} s")
        return str(answer["summary"])

    def deploy_again(self) -> str:
        """Deploy the same once more."""
        resources = self._last_changes()
        assembly.update(self.emulator, self.assembly, self.stack)
        check(self._last_changes() == resources, "the second deployment touched resources")
        self._expect_as_before()
        return f"{len(resources)} resources untouched, IAM as before"

    def stop_one_agent(self) -> str:
        """Stop the runaway agent alone, by the name of its role; everybody else goes on."""
        agent, others = self.people[0], self.people[1:]
        request = {"scope": agent.holder, "reason": "the drill"}
        _, seconds = self._kill(request, lambda: may_invoke(self.emulator, agent))
        self.story.tell(f"{agent.holder} alone is stopped")
        for each in others:
            check(may_invoke(self.emulator, each) is each.may_invoke, f"{each.holder} is stopped as well")
        self._expect_held(stopped=False)
        status = self._invoke("StatusFunction", {})
        check(status["level"] == "released", f"stopping one role alone changed the level: {status['summary']}")
        self._tick()
        check(not may_invoke(self.emulator, agent), f"{agent.holder} may call again after the meter's next look")
        self._release_alone(agent.holder)
        self._measured(f"kill of {agent.holder} alone to its first AccessDenied", f"{seconds:.1f} s")
        return f"{agent.holder} denied after {seconds:.1f} s, {len(others)} others went on; released exactly"

    def stop_one_model(self) -> str:
        """Stop one model for everybody; another one goes on."""
        scope, agent = _MODEL_SCOPE, self.people[0]
        _, seconds = self._kill({"scope": scope}, lambda: may_invoke(self.emulator, agent))
        self.story.tell(f"{scope} alone is stopped, for everybody")
        for each in self.people:
            expected = each.may_invoke and not each.stopped
            check(may_invoke(self.emulator, each) is expected, f"{MODEL} is not as it must be for {each.holder}")
            free = may_invoke(self.emulator, each, OTHER_MODEL)
            check(free is each.may_invoke, f"{OTHER_MODEL} is denied to {each.holder} as well")
        check(scope in json.dumps(self._invoke("StatusFunction", {})), f"the status does not tell of {scope}")
        self._tick()
        check(not may_invoke(self.emulator, agent), f"{MODEL} is allowed again after the meter's next look")
        self._release_alone(scope)
        self._measured(f"kill of {scope} alone to its first AccessDenied", f"{seconds:.1f} s")
        return f"{scope} denied to all after {seconds:.1f} s, {OTHER_MODEL} went on; released exactly"

    def delete_armed(self) -> str:
        """Let the owner of an armed role delete it: IAM refuses once, then it must work."""
        iam, role = self.emulator.client("iam"), hire(self.emulator, "short-lived").holder.partition("/")[2]
        self._fire("rate(1 hour)")
        check(f"role/{role}" in self._holders("brake"), f"the hourly run did not arm {role}")
        iam.delete_role_policy(RoleName=role, PolicyName="work")
        began = time.monotonic()
        refused = self._delete_role(role)
        check(refused, f"{role} could be deleted while armed, which AWS refuses")
        stimuli.tell_of_refused_delete(self.emulator, role)
        while self._delete_role(role):
            check(time.monotonic() - began < _SOON, f"{role} still cannot be deleted: it was not disarmed")
            time.sleep(0.2)
        seconds = time.monotonic() - began
        self.story.tell(f"{role} was armed within the hour, disarmed at its owner's delete, and is gone")
        self._measured("refused DeleteRole of an armed role to the one that works", f"{seconds:.1f} s")
        self._expect_as_before()
        return f"armed, DeleteConflict, disarmed, deleted {seconds:.1f} s after the refusal"

    def update(self) -> str:
        """Deploy other documents during stops of every kind, once well and once so that CloudFormation rolls back."""
        for scope in (_MODEL_SCOPE, self.people[0].holder, "account"):
            self._invoke("KillFunction", {"scope": scope})
        self.killed = True
        assembly.update(self.emulator, self._edited("newcomer"), self.stack)
        self._expect_stopped()
        self._expect_document("role/newcomer", "the update did not renew the document of the stop")
        try:
            assembly.update(self.emulator, self._edited("latecomer", fails=True), self.stack)
        except assembly.DeployError as error:
            check("UPDATE_ROLLBACK_COMPLETE" in str(error), f"the failed update did not roll back: {error}")
        else:
            msg = "the update that has to fail went through"
            raise SceneError(msg)
        self._expect_stopped()
        self._expect_document("role/newcomer", "the rollback did not bring the document of before back")
        self.story.tell("updated, and rolled back from a failed update, while the brake stayed closed")
        return "an update and the rollback of a failed one renewed the documents and kept all three stops"

    def destroy(self) -> str:
        """Destroy while a stop is on, and look for anything that is left."""
        assembly.destroy(self.emulator, self.stack)
        # The bucket and the version parameter stand in for `cdk bootstrap`, which a destroy leaves in place.
        bootstrap = {"bucket", "parameter"}
        now = inventory(self.emulator) - self.undeployed
        left = sorted(f"{kind} {name}" for kind, name in now if kind not in bootstrap)
        self.facts["resources_left_after_destroy"] = left
        check(not left, f"still there: {', '.join(left)}")
        after = snapshot(self.emulator)
        difference = _difference(self.before_deployment, after)
        check(after == self.before_deployment, f"the account differs from before the deployment: {difference}")
        for each in self.people:
            check(may_invoke(self.emulator, each) is each.may_invoke, f"{each.holder} is not as free as before")
        how = "destroyed while a stop was on: released first" if self.killed else "destroyed"
        self.story.tell(f"{how}, nothing left")
        return f"{how}, nothing left; IAM, API keys and concurrency as before the deployment"

    # --- what the scenes are made of ---------------------------------------------------------------------------

    def _agent_denied(self, tripped: float | None, spend: Decimal, calls: int) -> str:
        denied = self.story.mark("first AccessDenied", f"the agent's live session gets AccessDenied after ${spend:.2f}")
        check(tripped is not None, f"the agent was denied at ${spend:.2f}, before the limit tripped")
        seconds = round(denied - (tripped or denied), 2)
        self.facts |= {"spend_at_denied_usd": spend, "trip_to_denied_seconds": seconds}
        return f"{calls} calls, ${spend:.2f}; denied {seconds:.1f} s after the limit tripped"

    def _publish(self, usage: Mapping[str, int]) -> None:
        """Publish what Bedrock would: each count at the model's dimension and at the account's."""
        counts = {
            "Invocations": 1,
            "InputTokenCount": usage["inputTokens"],
            "OutputTokenCount": usage["outputTokens"],
        }
        data = [
            {"MetricName": name, "Dimensions": dimensions, "Value": count, "Timestamp": datetime.now(UTC)}
            for name, count in counts.items()
            for dimensions in ([{"Name": "ModelId", "Value": MODEL}], [])
        ]
        self.emulator.client("cloudwatch").put_metric_data(Namespace="AWS/Bedrock", MetricData=data)

    def _alarm_wakes_the_meter(self) -> None:
        """Let the tripwire ring before the clock's first tick; the rule must wake the meter."""
        check(not any("verdict" in each for each in self._records("now")), "the meter ran before anything woke it")
        self._trip("ALARM")
        self._wait_for_record("now", "verdict", "ok")
        self._trip("OK")

    def _trip(self, state: str) -> None:
        """Give the tripwire the state that CloudWatch would find it in."""
        self._set_alarm(self.settings.tripwire("bedrock"), state)

    def _set_alarm(self, name: str, state: str) -> None:
        self.emulator.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason="drill")

    def _age_the_last_read(self, by: timedelta) -> None:
        """Move back what the meter left of its last read, as if so much time had gone by."""
        ledger, table = self.emulator.client("dynamodb"), self.outputs["LedgerTable"]
        item = ledger.get_item(TableName=table, Key={"pk": {"S": "now"}, "sk": {"S": "watch"}})["Item"]
        body = json.loads(item["body"]["S"])
        body["read_at"] = (datetime.fromisoformat(body["read_at"]) - by).isoformat()
        ledger.put_item(TableName=table, Item={**item, "body": {"S": json.dumps(body)}})

    def _found_by_itself(self) -> list[str]:
        """Have the guardrail look at itself; return what it finds, in words."""
        found: list[str] = self._run(f"{self.settings.prefix}-watch", {}).get("findings", [])
        return found

    def _sees(self, caller: Credentials) -> str:
        """See the dashboard, the alarms, the ledger and the test events as that caller; return them in words."""
        table = self.outputs["LedgerTable"]
        stop = {":pk": {"S": "stop"}}
        cloudwatch = self.emulator.client("cloudwatch", caller)
        board = cloudwatch.get_dashboard(DashboardName=self.settings.prefix)["DashboardBody"]
        check(self.outputs["StatusFunction"] in board, "the dashboard does not ask the status function")
        alarms = cloudwatch.describe_alarms(AlarmNamePrefix=self.settings.prefix)["MetricAlarms"]
        stops = self.emulator.client("dynamodb", caller).query(
            TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues=stop
        )["Items"]
        check(alarms and stops, "the operator sees no alarms or no ledger")
        schemas = self.emulator.client("schemas", caller)
        shared = {each["SchemaName"] for each in schemas.list_schemas(RegistryName=console.REGISTRY)["Schemas"]}
        events = 0
        for word, named in console.EVENTS.items():
            name = console.schema_name(f"{self.settings.prefix}-{word}")
            check(name in shared, f"the console's Test drop-down holds nothing for {word}: {sorted(shared)}")
            content = schemas.describe_schema(RegistryName=console.REGISTRY, SchemaName=name)["Content"]
            offered = json.loads(content)["components"]["examples"]
            check(offered.keys() == named.keys(), f"the drop-down of {word} holds {sorted(offered)}")
            events += len(offered)
        return f"the dashboard, {len(alarms)} alarms, the ledger, and {events} events in the Test drop-down"

    def _refused(self, caller: Credentials) -> list[str]:
        """Try as that caller what an operator may not; return what was refused, and fail for what was not."""
        kill, table = self.outputs["KillFunction"], self.outputs["LedgerTable"]
        functions = self.emulator.client("lambda", caller)
        brake = {"PolicyArn": self.outputs["BrakePolicyArn"], "VersionId": "v1"}
        tries: dict[str, Callable[[], object]] = {
            "changing its code": lambda: functions.update_function_code(FunctionName=kill, ZipFile=b""),
            "its configuration": lambda: functions.update_function_configuration(FunctionName=kill, Timeout=3),
            "the stop function": lambda: functions.invoke(FunctionName=f"{self.settings.prefix}-stop"),
            "the brake": lambda: self.emulator.client("iam", caller).set_default_policy_version(**brake),
            "the ledger": lambda: self.emulator.client("dynamodb", caller).put_item(
                TableName=table, Item={"pk": {"S": "now"}, "sk": {"S": "wanted"}}
            ),
            "the mails": lambda: self.emulator.client("sns", caller).publish(
                TopicArn=self.outputs["NoticeTopicArn"], Message="hello"
            ),
        }
        for what, attempt in tries.items():
            try:
                attempt()
            except ClientError as error:
                if error.response["Error"]["Code"] in _REFUSED:
                    continue
                raise
            msg = f"an operator has a hand in {what}"
            raise SceneError(msg)
        return list(tries)

    def _start_batch_job(self, name: str) -> str:
        arn: str = self.emulator.client("bedrock").create_model_invocation_job(
            jobName=name,
            roleArn=self.people[0].arn,
            modelId="amazon.titan-embed-text-v2:0",
            inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://somebody-elses-data/in/"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://somebody-elses-data/out/"}},
        )["jobArn"]
        return arn

    def _job_status(self, arn: str) -> str:
        status: str = self.emulator.client("bedrock").get_model_invocation_job(jobIdentifier=arn)["status"]
        return status

    def _edited(self, exempt: str, *, fails: bool = False) -> Path:
        """Return a copy of the assembly whose brake spares one role more; or that fails late."""
        copy = self.assembly.with_name(f"{self.assembly.name}-{exempt}")
        shutil.copytree(self.assembly, copy)
        file = copy / f"{self.stack}.template.json"
        template = json.loads(file.read_text(encoding="utf-8"))
        # The writer renders the documents from its own settings; CloudFormation calls it when their digest changes.
        (writer,) = [
            each["Properties"]["Environment"]["Variables"]
            for each in template["Resources"].values()
            if each["Type"] == "AWS::Lambda::Function"
            and each["Properties"]["Handler"] == "lambdas.handlers.install.handler"
        ]
        settings = json.loads(writer["GUARDRAIL"])
        writer["GUARDRAIL"] = json.dumps(settings | {"exempt": [*settings["exempt"], f"role/{exempt}"]})
        policies = next(name for name, each in template["Resources"].items() if each["Type"] == _POLICIES_TYPE)
        template["Resources"][policies]["Properties"]["Documents"] = exempt
        if fails:
            statement = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
            document = {"Version": "2012-10-17", "Statement": [statement]}
            nobodys = {"PolicyName": "fails", "Roles": ["no-such-role"], "PolicyDocument": document}
            late = {"Type": "AWS::IAM::Policy", "Properties": nobodys, "DependsOn": [policies]}
            template["Resources"]["FailsLate"] = late
        file.write_text(json.dumps(template), encoding="utf-8")
        return copy

    def _expect_document(self, text: str, otherwise: str) -> None:
        """See that the brake policy in force holds a text, and denies the model that is stopped alone."""
        iam, arn = self.emulator.client("iam"), self.outputs["BrakePolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = json.dumps(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
        check(text in found, otherwise)
        check(_MODEL_SCOPE.partition(":")[2] in found, f"{_MODEL_SCOPE} is not denied alone any more")
        check(self.people[0].holder in self._holders("deny"), f"{self.people[0].holder} is not denied alone")

    def _expect_stopped(self, into: dict[str, bool] | None = None) -> None:
        for each in self.people:
            denied = not may_invoke(self.emulator, each)
            if into is not None:
                into[each.arn] = denied
            expected = each.stopped or not each.may_invoke
            check(denied is expected, f"{each.holder} is {'denied' if denied else 'NOT denied'} during the stop")
            check(may_list_buckets(self.emulator, each), f"{each.holder} lost s3")
        self._expect_held(stopped=True)

    def _expect_held(self, *, stopped: bool) -> None:
        """See that a stop holds down the active key and the tagged functions, and nothing else; without one nothing."""
        mine = self.holdings
        if mine is None:
            return
        keys, reserved = key_status(self.emulator), reserved_concurrency(self.emulator)
        active = "Inactive" if stopped else "Active"
        check(keys[mine.active_key] == active, f"the active API key is {keys[mine.active_key]}")
        check(keys[mine.inactive_key] == "Inactive", "the API key that was inactive was activated")
        wanted = {mine.throttled: 0, mine.reserved: 0} if stopped else {mine.throttled: None, mine.reserved: 7}
        for name, count in {**wanted, mine.untagged: 3}.items():
            check(reserved[name] == count, f"{name} has reserved {reserved[name]}, not {count}")
            check(may_run(self.emulator, name) is (count != 0), f"{name} with {count} reserved is not as it must be")

    def _expect_as_before(self, into: dict[str, bool] | None = None) -> None:
        for each in self.people:
            allowed = may_invoke(self.emulator, each)
            if into is not None:
                into[each.arn] = allowed
            check(
                allowed is each.may_invoke, f"{each.holder} is {'allowed' if allowed else 'denied'} after the release"
            )
        after = self._snapshot()
        self.facts["iam_identical_after_release"] = same = after == self.before
        check(same, f"the account differs from before the stop: {_difference(self.before, after)}")
        self._expect_held(stopped=False)

    def _unchanged_without_switch(self) -> None:
        """See that the stop changed nothing but the guardrail's own policies, their holders, and what is held down."""
        now = self._snapshot()
        expected = {each.arn for each in self.people if each.swept}
        expected |= {self.outputs["BrakePolicyArn"], self.outputs["SweepPolicyArn"]}
        if mine := self.holdings:
            expected |= {f"API key {mine.active_key}"}
            expected |= {f"concurrency of {each}" for each in (mine.throttled, mine.reserved)}
        changed = {name for name in now.keys() | self.before.keys() if now.get(name) != self.before.get(name)}
        check(changed == expected, f"the stop changed {sorted(changed)}, expected {sorted(expected)}")

    def _snapshot(self) -> dict[str, Any]:
        """Return the account; of the guardrail's own policies what their versions say, for numbers only go up."""
        return snapshot(self.emulator, rewritten={self.outputs["BrakePolicyArn"], self.outputs["SweepPolicyArn"]})

    def _kill(self, event: object, still_allowed: Callable[[], bool]) -> tuple[dict[str, Any], float]:
        """Kill, and call as somebody it must reach until that is denied; return the answer and how long it took."""
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self._invoke, "KillFunction", event)
            while still_allowed():
                check(time.monotonic() - began < _SOON, f"not denied {_SOON} s after the kill {event}")
                time.sleep(0.05)
            seconds = time.monotonic() - began
            return answer.result(), seconds

    def _allow(self, what: dict[str, Any]) -> dict[str, Any]:
        """Change the allowances, and release nothing."""
        request = {"confirm": "ALLOW", "reason": "the drill goes on", "by": "the drill"}
        return self._invoke("ReleaseFunction", {**request, **what})

    def _released(self, reason: str) -> None:
        """Release, and see that all is as before."""
        self._invoke("ReleaseFunction", {"confirm": "RELEASE", "reason": reason})
        self._expect_as_before()

    def _release_alone(self, scope: str) -> None:
        self._invoke("ReleaseFunction", {"confirm": "RELEASE", "reason": "the drill goes on", "scope": scope})
        self._expect_as_before()

    def _delete_role(self, name: str) -> bool:
        """Delete a role; True when a policy is still in the way."""
        try:
            self.emulator.client("iam").delete_role(RoleName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "DeleteConflict":
                return True
            raise
        return False

    def _last_changes(self) -> dict[str, object]:
        """Return when CloudFormation last changed each resource."""
        pages = (
            self.emulator.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.stack)
        )
        found = [each for page in pages for each in page["StackResourceSummaries"]]
        return {each["LogicalResourceId"]: each["LastUpdatedTimestamp"] for each in found}

    def _measured(self, what: str, figure: str) -> None:
        self.facts.setdefault("measured", []).append({"what": what, "figure": figure})

    def _wait_until_denied(self, person: Person) -> None:
        deadline = time.monotonic() + 30
        while may_invoke(self.emulator, person):
            check(time.monotonic() < deadline, f"{person.holder} is not denied after 30 s")
            time.sleep(0.2)

    def _wait_for_record(self, kind: str, key: str, value: str, *, after: int = 0) -> dict[str, Any]:
        """Wait until the function that stops has finished: its record is the last thing it writes."""
        deadline = time.monotonic() + 30
        while True:
            found = next((each for each in self._records(kind)[after:] if each.get(key) == value), None)
            if found is not None:
                return found
            check(time.monotonic() < deadline, f"no {kind} with {key} {value!r} in the ledger after 30 s")
            time.sleep(0.2)

    def _records(self, kind: str) -> list[dict[str, Any]]:
        items = self.emulator.client("dynamodb").query(
            TableName=self.outputs["LedgerTable"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": kind}},
        )["Items"]
        return [json.loads(each["body"]["S"]) for each in items]

    def _holders(self, policy: str) -> set[str]:
        arn = f"arn:aws:iam::{self.emulator.account}:policy/{self.settings.prefix}-{policy}"
        found = self.emulator.client("iam").list_entities_for_policy(PolicyArn=arn)
        return {f"role/{each['RoleName']}" for each in found["PolicyRoles"]} | {
            f"user/{each['UserName']}" for each in found["PolicyUsers"]
        }

    def _tick(self) -> None:
        """Have the clock's rule invoke the meter now, and the stop it may ask for finish."""
        self._fire(_MINUTELY)
        time.sleep(2)

    def _fire(self, schedule: str) -> None:
        clock = self._rule(lambda each: each.get("ScheduleExpression") == schedule)
        for answer in stimuli.fire_schedule(self.emulator, clock):
            check(answer["error"] is None, f"{answer['function']} failed: {answer['payload']}")

    def _rule(self, wanted: Callable[[dict[str, Any]], bool]) -> str:
        rules = self.emulator.client("events").list_rules()["Rules"]
        return next(str(each["Name"]) for each in rules if wanted(each))

    def _budget_message(self, budget: str, spent: str, words: Mapping[str, str]) -> str:
        today = f"{datetime.now(UTC):%B %d, %Y}"
        return _BUDGET_MESSAGE.format(account=self.emulator.account, budget=budget, date=today, spent=spent, **words)

    def _notify(self, text: str) -> None:
        subject = f"AWS Budgets: {self.outputs['BudgetName']} has exceeded your alert threshold"
        self.emulator.client("sns").publish(TopicArn=self.outputs["BudgetTopicArn"], Subject=subject, Message=text)

    def _invoke(
        self, output: str, event: object, *, fails: bool = False, caller: Credentials | None = None
    ) -> dict[str, Any]:
        return self._run(self.outputs[output], event, fails=fails, caller=caller)

    def _run(
        self, name: str, event: object, *, fails: bool = False, caller: Credentials | None = None
    ) -> dict[str, Any]:
        answer = self.emulator.client("lambda", caller).invoke(FunctionName=name, Payload=json.dumps(event).encode())
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
        failed = "FunctionError" in answer
        check(failed is fails, f"{name} {'failed' if failed else 'did not refuse'}: {payload}")
        return payload

    def report(self) -> dict[str, Any]:
        """Return the facts for the report."""
        principals = [
            {
                "arn": each.arn,
                "armed": each.armed,
                "denied_after_stop": self.denied.get(each.arn),
                "allowed_after_release": self.allowed.get(each.arn),
                "note": each.note,
            }
            for each in self.people
            if each.may_invoke
        ]
        return {"principals": principals, **self.facts}


def _counted(writes: Mapping[str, int]) -> str:
    total = sum(writes.values())
    return f"{total}: {', '.join(f'{count} {name}' for name, count in sorted(writes.items()))}"


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    changed = sorted(arn for arn in before.keys() | after.keys() if before.get(arn) != after.get(arn))
    return "; ".join(f"{arn}: {before.get(arn)} became {after.get(arn)}" for arn in changed)[:2000]
