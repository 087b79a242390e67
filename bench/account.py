"""An account for the meter: the real tick on a simulated CloudWatch, with ledger and brake in memory."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from bench.stand_in import CloudWatch
from lambdas.aws.cloudwatch import TokenMetrics
from lambdas.core.closed import ClosedDay
from lambdas.core.inventory import Inventory
from lambdas.core.levels import Level
from lambdas.core.memory import Memory
from lambdas.core.notice import Links
from lambdas.core.pace import Bounds
from lambdas.core.plan import BrakeState, PolicyState
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Series
from lambdas.measuring import Gauge
from lambdas.metering import MeterTools, Tick, tick
from lambdas.settings import Settings
from lambdas.telling import Ways

_ITEM_KB, _SERIES_BYTES = 4, 150


@dataclass
class Ledger:
    """The ledger, counting what DynamoDB bills: reads by 4 KB, writes by 1 KB."""

    bill: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)
    series: set[Series] = field(default_factory=set)
    closed: dict[tuple[date, str], ClosedDay] = field(default_factory=dict)
    _inventory: Inventory | None = None

    def _put(self, name: str, body: Mapping[str, Any]) -> None:
        text = json.dumps(body)
        self.bill["dynamodb:write"] += 1 + len(text) // 1024
        self.notes[name] = json.loads(text)

    def memory(self, now: datetime) -> Memory:
        """Return what every tick needs; the inventory was just taken and found nothing."""
        # The decision and the watch take a few KB.
        self.bill["dynamodb:read"] += 1
        self._inventory = Inventory(now)
        noted = {"discovered": [], "mark": self._inventory.mark}
        notes = self.notes
        return Memory(decision=notes.get("decision"), watch=notes.get("watch"), told=notes.get("told"), inventory=noted)

    def note(self, name: str, body: Mapping[str, Any], at: datetime) -> None:
        """Keep what was told."""
        del at
        self._put(name, body)

    def last(self, kind: str) -> None:
        """Return nothing: nobody has stopped anything."""
        del kind
        self.bill["dynamodb:read"] += 1

    def note_watch(self, body: Mapping[str, Any], at: datetime, *, before: str) -> bool:
        """Keep the watch; there is one meter alone."""
        del at, before
        self._put("watch", body)
        return True

    def known_series(self, month: datetime) -> frozenset[Series]:
        """Return all series."""
        del month
        self.bill["dynamodb:read"] += 1 + len(self.series) * _SERIES_BYTES // (_ITEM_KB * 1024)
        return frozenset(self.series)

    def remember_series(self, month: datetime, series: Iterable[Series]) -> None:
        """Add series, an item for each region."""
        del month
        new = set(series)
        self.bill["dynamodb:write"] += len({each.region for each in new})
        self.series |= new

    def closed_days(self, first: date, last: date) -> Sequence[ClosedDay]:
        """Return the days from the first to the last."""
        found = [day for (each, _), day in sorted(self.closed.items()) if first <= each <= last]
        self.bill["dynamodb:read"] += 1 + len(found) // 10
        return found

    def close(self, day: ClosedDay, *, closed_before: datetime) -> bool:
        """Keep a day, if nobody has closed hours of it meanwhile."""
        known = self.closed.get((day.day, day.region))
        if known is not None and known.until != closed_before:
            return False
        self.bill["dynamodb:write"] += 1
        self.closed[day.day, day.region] = day
        return True

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the inventory, which has nothing in it."""
        self.bill["dynamodb:read"] += 1
        return self._inventory.to_json() if name == "inventory" and self._inventory else None

    def record_decision(self, at: datetime, body: dict[str, Any], *, news: bool) -> None:
        """Make a decision the latest."""
        self._put("decision", {"at": at.isoformat(), **body})
        self.bill["dynamodb:write"] += news


class Brake:
    """The two policies, released for as long as anybody looks. IAM costs nothing."""

    sweep_arn = "arn:aws:iam::123456789012:policy/bedrock-spend-sweep"
    _STATE = BrakeState(
        *(
            PolicyState(f"arn:aws:iam::123456789012:policy/bedrock-spend-{each}", Level.RELEASED, versions, "v1")
            for each, versions in (("brake", dict.fromkeys(Level, "v1")), ("sweep", dict.fromkeys(Level, "v1")))
        )
    )

    def levels(self) -> BrakeState:
        """Return both as released."""
        return self._STATE

    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return nobody."""
        del policy_arn
        return frozenset()


class Account:
    """The meter of one account, tick by tick."""

    def __init__(self, cloudwatch: CloudWatch, settings: Settings, prices: PriceTable) -> None:
        """Deploy the meter with some settings."""
        self.ledger = Ledger()
        self.asked: list[Level] = []
        """The levels the meter asked the stop function for."""
        self.mails = 0
        self._tools = MeterTools(
            gauge=Gauge(
                TokenMetrics(cloudwatch.client),  # type: ignore[arg-type]  # a stand-in
                self.ledger,
                prices,
            ),
            ledger=self.ledger,
            brake=Brake(),
            bounds=Bounds(settings.limits, settings.max_blind_usd, settings.reaction),
            regions=settings.regions,
            watched=frozenset(settings.watched),
            enforce=settings.enforce,
            links=Links("", "", "", ""),
            ask_for_stop=self._ask,
            ask_for_release=self._ask_release,
            ways=Ways(settings.telling, self._send, self._send, self.ledger.note),
        )

    def tick(self, now: datetime, *, woken: bool = False) -> Tick:
        """Let the meter look."""
        return tick(now, self._tools, woken=woken)

    def _ask(self, request: Mapping[str, Any]) -> None:
        json.dumps(request)  # as the call does
        self.asked.append(Level.named(request["level"]))

    @staticmethod
    def _ask_release(request: Mapping[str, Any]) -> None:
        json.dumps(request)

    def _send(self, _notice: object) -> None:
        self.mails += 1
