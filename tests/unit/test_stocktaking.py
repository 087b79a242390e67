"""Taking stock: side by side by region, every part that fails a gap in words, nothing lost, people told once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core.assumptions import Assumptions
from lambdas.core.errors import LedgerItemError
from lambdas.core.inventory import CostKind, Inventory
from lambdas.core.notice import Links
from lambdas.core.sights import BatchJob, BatchTokens, Copies, Holding
from lambdas.stocktaking import KEPT_AS, Stocktaking, StockTools, take_stock
from tests.fakes import FakePost, refused

QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)
PARTS = 8
"""Listings that are made of a region while no batch job ran."""


@dataclass
class FakeStock:
    """What is in each region, and which calls are refused."""

    units: dict[str, int] = field(default_factory=dict)
    """Provisioned model units by region."""
    in_use: dict[str, tuple[str, ...]] = field(default_factory=dict)
    enabled: tuple[str, ...] = ("eu-west-3", "us-east-1")
    jobs: tuple[BatchJob, ...] = ()
    refuses: set[str] = field(default_factory=set)
    """Methods, or methods and regions (``profiles us-east-1``)."""
    calls: list[str] = field(default_factory=list)

    def _called(self, method: str, region: str = "") -> None:
        self.calls.append(f"{method} {region}".strip())
        if {"*", method, f"{method} {region}"} & self.refuses:
            raise refused(method, "AccessDenied")

    def regions(self) -> Sequence[str]:
        self._called("regions")
        return self.enabled

    def planes_in_use(self, region: str) -> tuple[str, ...]:
        self._called("planes_in_use", region)
        return self.in_use.get(region, ())

    def profiles(self, region: str) -> Mapping[str, tuple[str, ...]]:
        self._called("profiles", region)
        return {f"profile-{region}": ("amazon.nova-pro-v1:0",)}

    def provisioned(self, region: str) -> Sequence[Holding]:
        self._called("provisioned", region)
        since = datetime.fromisoformat("2026-11-20T00:00:00+00:00")
        units = self.units.get(region)
        return [Holding(CostKind.PROVISIONED, "pt", f"arn:{region}", since, units=units)] if units else []

    def deployments(self, region: str) -> Sequence[Holding]:
        self._called("deployments", region)
        return []

    def endpoints(self, region: str) -> Sequence[Holding]:
        self._called("endpoints", region)
        return []

    def customization_jobs(self, region: str, month: datetime) -> Sequence[Holding]:
        assert month.day == 1
        self._called("customization_jobs", region)
        return []

    def evaluation_jobs(self, region: str) -> Sequence[Holding]:
        self._called("evaluation_jobs", region)
        return []

    def imported(self, region: str, since: datetime, until: datetime) -> Sequence[Copies]:
        assert since < until
        self._called("imported", region)
        return []

    def batch_jobs(self, region: str, month: datetime) -> Sequence[BatchJob]:
        assert month.day == 1
        self._called("batch_jobs", region)
        return self.jobs

    def batch_tokens(self, region: str, since: datetime, until: datetime) -> Sequence[BatchTokens]:
        assert since < until
        self._called("batch_tokens", region)
        return []


@dataclass
class FakeShelf:
    """The larger documents of the ledger, as JSON."""

    documents: dict[str, str] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    cannot: set[str] = field(default_factory=set)
    broken: bool = False

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        if "keep" in self.cannot:
            raise refused("dynamodb:PutItem")
        self.documents[name] = json.dumps(body)

    def note(self, name: str, body: Mapping[str, Any], at: datetime) -> None:
        del at
        self.notes[name] = dict(body)

    def kept(self, name: str) -> Mapping[str, Any] | None:
        if "kept" in self.cannot:
            raise refused("dynamodb:GetItem")
        if self.broken:
            raise LedgerItemError("broken")
        body: Mapping[str, Any] | None = json.loads(self.documents[name]) if name in self.documents else None
        return body

    @property
    def inventory(self) -> Inventory:
        return Inventory.from_json(json.loads(self.documents[KEPT_AS]))


@dataclass
class Scene:
    """Stock, ledger and mail."""

    stock: FakeStock = field(default_factory=FakeStock)
    shelf: FakeShelf = field(default_factory=FakeShelf)
    post: FakePost = field(default_factory=FakePost)
    regions: tuple[str, ...] = ("us-east-1", "eu-central-1")

    def take(self, at: datetime) -> Stocktaking:
        tools = StockTools(
            self.stock,
            self.shelf,
            self.regions,
            Assumptions(provisioned_unit_hour=Decimal(10)),
            lambda _model, _at: (Decimal("1e-6"), Decimal("5e-6")),
            Links("release", "status", "kill", "by hand"),
            self.post.send,
        )
        return take_stock(at, tools)


@pytest.fixture
def scene():
    return Scene()


def test_every_region_is_listed_and_the_result_is_kept(scene, now):
    scene.stock.units = {"us-east-1": 1, "eu-central-1": 2}
    taking = scene.take(now)
    assert (taking.problems, taking.inventory.gaps) == ((), ())
    assert [(each.region, each.units) for each in taking.inventory.standing] == [("us-east-1", 1), ("eu-central-1", 2)]
    assert set(taking.inventory.aliases) == {"profile-us-east-1", "profile-eu-central-1"}
    assert scene.shelf.inventory == taking.inventory
    assert scene.post.sent == []


def test_batch_tokens_are_asked_for_only_where_a_job_ran(scene, now):
    scene.take(now)
    assert not [each for each in scene.stock.calls if each.startswith("batch_tokens")]
    scene.stock.jobs = (BatchJob("j", "arn:j", "m", now - HOUR, None, 5),)
    scene.take(now + QUARTER)
    assert {"batch_tokens us-east-1", "batch_tokens eu-central-1"} <= set(scene.stock.calls)


def test_a_part_that_fails_is_a_gap_and_keeps_what_was_known(scene, now):
    scene.stock.units = {"us-east-1": 1, "eu-central-1": 1}
    scene.take(now)
    scene.stock.units = {}
    scene.stock.refuses = {"provisioned us-east-1", "profiles"}
    taking = scene.take(now + QUARTER)
    assert taking.problems == ()
    assert taking.inventory.gaps == (
        "us-east-1, eu-central-1: names of inference profiles cannot be listed (AccessDenied)",
        "us-east-1: provisioned throughput cannot be listed (AccessDenied)",
    )
    assert {each.region: each.until for each in taking.inventory.standing} == {
        "us-east-1": None,
        "eu-central-1": now + QUARTER,
    }
    assert len(taking.inventory.aliases) == 2
    scene.stock.refuses = set()
    assert scene.take(now + 2 * QUARTER).inventory.gaps == ()


def test_all_calls_denied_keeps_the_old_stock_and_is_a_problem(scene, now):
    scene.stock.units = {"us-east-1": 1}
    before = scene.take(now).inventory
    scene.stock.refuses = {"*"}
    taking = scene.take(now + HOUR)
    assert taking.inventory.standing == before.standing
    assert taking.inventory.aliases == before.aliases
    assert len(taking.inventory.gaps) == PARTS + 1
    assert taking.inventory.gaps[0] == "use of regions that are not listed cannot be looked for (AccessDenied)"
    (problem,) = taking.problems
    assert problem.startswith("nothing could be listed (")
    assert scene.shelf.inventory == taking.inventory


# --- regions nobody listed ---------------------------------------------------------------------------------------


def test_a_region_nobody_listed_is_told_of_once_at_once_and_listed_in_the_same_run(scene, now):
    scene.stock.in_use = {"eu-west-3": ("AWS/Bedrock",), "us-east-1": ("AWS/Bedrock",)}
    scene.stock.units = {"eu-west-3": 3}
    taking = scene.take(now)
    assert taking.inventory.discovered == {"eu-west-3": ("AWS/Bedrock",)}
    assert [each.units for each in taking.inventory.standing] == [3]
    (notice,) = scene.post.sent
    assert notice.subject == "Bedrock spend: used in eu-west-3, which is not listed"
    assert notice.text.startswith(
        "Bedrock is used in eu-west-3, which guardrail.toml does not list; it is metered from now on.\n"
    )
    scene.take(now + HOUR)
    assert len(scene.post.sent) == 1


def test_another_region_later_is_told_of_alone(scene, now):
    scene.stock.in_use = {"eu-west-3": ("AWS/Bedrock",)}
    scene.take(now)
    scene.stock.enabled = (*scene.stock.enabled, "sa-east-1")
    scene.stock.in_use["sa-east-1"] = ("AWS/BedrockMantle",)
    scene.take(now + HOUR)
    assert [each.subject for each in scene.post.sent][1:] == ["Bedrock spend: used in sa-east-1, which is not listed"]


def test_a_mail_that_failed_is_sent_at_the_next_run(scene, now):
    scene.stock.in_use = {"eu-west-3": ("AWS/Bedrock",)}
    scene.post.down = True
    assert len(scene.take(now).problems) == 1
    scene.post.down = False
    assert scene.take(now + QUARTER).problems == ()
    assert len(scene.post.sent) == 1


def test_all_regions_are_looked_at_once_an_hour(scene, now):
    for quarters in range(9):
        scene.take(now + quarters * QUARTER)
    looks = [each for each in scene.stock.calls if each.startswith("planes_in_use")]
    assert looks == [f"planes_in_use {region}" for _ in range(3) for region in scene.stock.enabled]


def test_a_look_around_that_failed_is_a_gap_until_the_next(scene, now):
    scene.stock.refuses = {"planes_in_use eu-west-3"}
    gap = "use of eu-west-3 cannot be looked for (AccessDenied)"
    assert scene.take(now).inventory.gaps == (gap,)
    scene.stock.refuses = set()
    assert scene.take(now + QUARTER).inventory.gaps == (gap,)
    assert scene.take(now + HOUR).inventory.gaps == ()


def test_without_any_region_to_list_nothing_is_amiss(scene, now):
    scene.regions = ()
    assert scene.take(now).problems == ()


# --- the ledger --------------------------------------------------------------------------------------------------


def test_an_inventory_that_cannot_be_read_is_not_written_over(scene, now):
    scene.take(now)
    before = scene.shelf.documents[KEPT_AS]
    scene.shelf.cannot = {"kept"}
    assert scene.take(now + QUARTER).problems == ("dynamodb:GetItem: Throttling: not now",)
    assert scene.shelf.documents[KEPT_AS] == before


@pytest.mark.parametrize("document", ["{}", "[]", '{"at": 1}', None])
def test_an_inventory_that_is_none_gives_way_to_a_new_one(scene, now, document):
    scene.shelf.broken = document is None
    scene.shelf.documents[KEPT_AS] = document or ""
    (problem,) = scene.take(now).problems
    assert problem.startswith("the last inventory cannot be read")
    scene.shelf.broken = False
    assert scene.shelf.inventory.at == now
    assert scene.take(now + QUARTER).problems == ()


def test_an_inventory_that_cannot_be_kept_is_a_problem(scene, now):
    scene.take(now)
    before = scene.shelf.notes[KEPT_AS]
    scene.shelf.cannot = {"keep"}
    scene.stock.units = {"us-east-1": 7}
    assert scene.take(now).problems == ("dynamodb:PutItem: Throttling: not now",)
    assert scene.shelf.notes[KEPT_AS] == before


def test_the_meter_is_told_of_regions_and_of_anything_that_changes_the_spend(scene, now):
    scene.stock.in_use = {"eu-west-3": ("AWS/Bedrock",)}
    marks = []

    def mark_after(quarters: int) -> None:
        scene.take(now + quarters * QUARTER)
        note = scene.shelf.notes[KEPT_AS]
        assert note["discovered"] == ["eu-west-3"]
        marks.append(note["mark"])

    mark_after(0)
    mark_after(1)
    assert marks[0] == marks[1]
    scene.stock.units = {"us-east-1": 1}
    mark_after(2)
    mark_after(3)
    assert marks[2] == marks[3]
    scene.stock.units = {"us-east-1": 2}
    mark_after(4)
    scene.stock.jobs = (BatchJob("j", "arn:j", "m", now, None, 500),)
    mark_after(5)
    scene.stock.refuses = {"profiles"}
    mark_after(6)
    assert len(set(marks)) == len(marks) - 2
