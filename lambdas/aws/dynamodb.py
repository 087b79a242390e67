"""DynamoDB: the ledger of decisions, stops and releases, of allowances, and of the models seen.

One table, keys ``pk`` and ``sk``, all that is said in ``body`` as JSON:

===================  ==============  =================================================================
pk                   sk              body
===================  ==============  =================================================================
``now``              ``decision``    the last full read's verdict and figures
``now``              ``watch``       what it left for the ticks after it
``now``              ``wanted``      the level the last stop or release wants, and since when (``at``)
``now``              ``inventory``   the regions found in use, and a mark that changes with what stands there
``now``              ``allowance#``  and its words: dollars, expiry, reason, name
``decision``         time            a verdict that differs from the one before
``stop``             time            what a stop did, and how the brake stood before
``release``          time            who released, why, what was done
``series#YYYY-MM``   region#shard    the metric series seen in that month (``series``)
``closed``           day#region      what the closed hours of a day cost there, and ``until`` when they go
``kept``             its name        a larger document, compressed (``blob``): prices, inventory, cross-check
===================  ==============  =================================================================
"""

import gzip
import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.core.closed import ClosedDay
from lambdas.core.errors import AwsCallError, LedgerItemError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Allowance
from lambdas.core.memory import Memory
from lambdas.core.permissions import On, needs
from lambdas.core.usage import Kind, Series, Tier

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NOW = "now"
"""All that a tick of the meter needs while nothing is due, in one read."""
_ALLOWANCE = "allowance#"
_SHARDS = 16
"""The series of a region are spread over so many items: one holds 400 KB, some 2,400 of them."""


class LedgerTable:
    """The ledger. Losing it loses history, never the ability to stop."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        """Take the client and the table's name."""
        self._dynamodb = client
        self._table = table

    @needs("dynamodb:Query", on=On.LEDGER)
    def memory(self, now: datetime) -> Memory:
        """Return what every tick needs, in one read."""
        bodies: dict[str, Mapping[str, Any]] = {}
        granted: list[Allowance] = []
        wanted = Wanted(Level.RELEASED)
        broken: list[str] = []
        mark = ""
        for item in self._items(_NOW):
            name = item["sk"]["S"]
            mark = item.get("at", {}).get("S", "") if name == "watch" else mark
            # One item that cannot be read must not hide the others.
            try:
                with _decoding(f"{_NOW} {name}"):
                    bodies[name] = body = _body(item)
                    if name == "wanted":
                        wanted = _wanted(body)
                    elif name.startswith(_ALLOWANCE):
                        granted.append(_allowance(body))
            except LedgerItemError as error:
                broken.append(str(error))
        return Memory(
            wanted,
            tuple(each for each in granted if now < each.until),
            bodies.get("decision"),
            bodies.get("watch"),
            bodies.get("inventory"),
            tuple(broken),
            mark,
        )

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def note(self, name: str, body: Mapping[str, Any], at: datetime) -> None:
        """Keep ``inventory`` as of a moment where every tick finds it, unless there is a later one."""
        self._put_unless_later(name, body, _stamp(at))

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def note_watch(self, body: Mapping[str, Any], at: datetime, *, before: str) -> bool:
        """Keep what a tick leaves for the next, in place of the watch it began with; False when there is another.

        ``before`` is the mark of that watch as `memory` gave it, empty when there was none.
        """
        return self._put_if(
            "watch", body, _stamp(at), "#at = :old" if before else "attribute_not_exists(#at) OR #at = :old", before
        )

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def add_allowance(self, allowance: Allowance) -> None:
        """Keep an allowance. Granted again in the same words it is the same one, and lasts longer."""
        words = json.dumps([str(allowance.usd), allowance.reason, allowance.by])
        body = {
            "usd": str(allowance.usd),
            "until": _stamp(allowance.until),
            "reason": allowance.reason,
            "by": allowance.by,
        }
        self._put(_NOW, _ALLOWANCE + hashlib.sha256(words.encode()).hexdigest()[:32], body)

    @needs("dynamodb:Query", on=On.LEDGER)
    def known_series(self, month: datetime) -> frozenset[Series]:
        """Return the series seen in the month of the moment."""
        with calls.named("dynamodb:Query"):
            pages = list(
                self._dynamodb.get_paginator("query").paginate(
                    TableName=self._table,
                    KeyConditionExpression="pk = :pk",
                    ExpressionAttributeValues={":pk": {"S": _series_key(month)}},
                )
            )
        with _decoding(_series_key(month)):
            return frozenset(
                _series(item["sk"]["S"].partition("#")[0], text)
                for page in pages
                for item in page["Items"]
                for text in item.get("series", {}).get("SS", ())
            )

    @needs("dynamodb:UpdateItem", on=On.LEDGER)
    def remember_series(self, month: datetime, series: Iterable[Series]) -> None:
        """Add series to those of the month; adding to a set is safe to repeat and to do side by side."""
        by_item: defaultdict[str, list[str]] = defaultdict(list)
        for each in series:
            text = json.dumps(
                [each.namespace, each.metric, each.dimensions, each.model, each.kind, each.tier, each.by_tier]
            )
            by_item[f"{each.region}#{zlib.crc32(text.encode()) % _SHARDS}"].append(text)
        for name, texts in by_item.items():
            with calls.named("dynamodb:UpdateItem"):
                self._dynamodb.update_item(
                    TableName=self._table,
                    Key={"pk": {"S": _series_key(month)}, "sk": {"S": name}},
                    UpdateExpression="ADD series :new",
                    ExpressionAttributeValues={":new": {"SS": sorted(texts)}},
                )

    @needs("dynamodb:GetItem", on=On.LEDGER)
    def latest_decision(self) -> Mapping[str, Any] | None:
        """Return the meter's last decision, with its time as ``at``."""
        return self._get(_NOW, "decision")

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def record_decision(self, at: datetime, body: dict[str, Any], *, news: bool) -> None:
        """Make a decision the latest; keep it in the history as well when it is news."""
        stamped = {"at": _stamp(at), **body}
        if news:
            self._put("decision", _stamp(at), stamped)
        self._put_unless_later("decision", stamped, _stamp(at))

    @needs("dynamodb:DeleteItem", on=On.LEDGER)
    def forget_verdict(self) -> None:
        """Forget the meter's last decision: after a release it judges afresh."""
        with calls.named("dynamodb:DeleteItem"):
            self._dynamodb.delete_item(TableName=self._table, Key={"pk": {"S": _NOW}, "sk": {"S": "decision"}})

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def want(self, level: Level, at: datetime) -> bool:
        """Keep the level the brake is meant to have from a moment on; False when a later word stands already."""
        stamp = _stamp(at)
        return self._put_unless_later("wanted", {"level": str(level), "at": stamp}, stamp)

    @needs("dynamodb:GetItem", on=On.LEDGER)
    def wanted(self) -> Wanted:
        """Return the level the brake is meant to have; released before the first stop."""
        body = self._get(_NOW, "wanted")
        with _decoding("now wanted"):
            return _wanted(body)

    @needs("dynamodb:Query", on=On.LEDGER)
    def closed_days(self, first: date, last: date) -> Sequence[ClosedDay]:
        """Return, of each region, the days from the first to the last that have closed hours."""
        with calls.named("dynamodb:Query"):
            pages = self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues={
                    ":pk": {"S": "closed"},
                    ":first": {"S": first.isoformat()},
                    ":last": {"S": f"{last.isoformat()}#~"},
                },
                ConsistentRead=True,
            )
            items = [item for page in pages for item in page["Items"]]
        with _decoding("closed"):
            return [_closed_day(item) for item in items]

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def close(self, day: ClosedDay, *, closed_before: datetime) -> bool:
        """Keep a day whose hours were closed until ``closed_before``; False when another run closed hours meanwhile."""
        # A day of which nothing is closed has no item; "" is what no item's ``until`` is.
        before = _stamp(closed_before) if closed_before > day.start else ""
        try:
            with calls.named("dynamodb:PutItem"):
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item={
                        "pk": {"S": "closed"},
                        "sk": {"S": f"{day.day.isoformat()}#{day.region}"},
                        "until": {"S": _stamp(day.until)},
                        "body": {"S": json.dumps(day.to_json())},
                    },
                    ConditionExpression="#until = :before"
                    if before
                    else "attribute_not_exists(#until) OR #until = :before",
                    ExpressionAttributeNames={"#until": "until"},
                    ExpressionAttributeValues={":before": {"S": before}},
                )
        except AwsCallError as error:
            if error.code == "ConditionalCheckFailedException":
                return False
            raise
        return True

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a larger document under a name in place of the one before: prices, the inventory."""
        blob = gzip.compress(json.dumps(body).encode(), mtime=0)
        with calls.named("dynamodb:PutItem"):
            self._dynamodb.put_item(
                TableName=self._table, Item={"pk": {"S": "kept"}, "sk": {"S": name}, "blob": {"B": blob}}
            )

    @needs("dynamodb:GetItem", on=On.LEDGER)
    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document kept under a name, None when there is none."""
        with calls.named("dynamodb:GetItem"):
            found = self._dynamodb.get_item(
                TableName=self._table, Key={"pk": {"S": "kept"}, "sk": {"S": name}}, ConsistentRead=True
            )
        if "Item" not in found:
            return None
        with _decoding(f"kept {name}"):
            body: Mapping[str, Any] = json.loads(gzip.decompress(found["Item"]["blob"]["B"]))
            return body

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        """Keep a ``stop`` or a ``release``."""
        self._put(kind, _stamp(at), {"at": _stamp(at), **body})

    @needs("dynamodb:Query", on=On.LEDGER)
    def last(self, kind: str) -> Mapping[str, Any] | None:
        """Return the newest ``stop`` or ``release``."""
        items = self._items(kind, newest=1)
        with _decoding(kind):
            return next(map(_body, items), None)

    def _get(self, pk: str, sk: str) -> Mapping[str, Any] | None:
        with calls.named("dynamodb:GetItem"):
            found = self._dynamodb.get_item(
                TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True
            )
        with _decoding(f"{pk} {sk}"):
            return _body(found["Item"]) if "Item" in found else None

    def _put_unless_later(self, name: str, body: Mapping[str, Any], stamp: str) -> bool:
        return self._put_if(name, body, stamp, "attribute_not_exists(#at) OR #at <= :old", stamp)

    def _put_if(self, name: str, body: Mapping[str, Any], stamp: str, condition: str, old: str) -> bool:
        try:
            with calls.named("dynamodb:PutItem"):
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item={
                        "pk": {"S": _NOW},
                        "sk": {"S": name},
                        "at": {"S": stamp},
                        "body": {"S": json.dumps(body)},
                    },
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#at": "at"},
                    ExpressionAttributeValues={":old": {"S": old}},
                )
        except AwsCallError as error:
            if error.code == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _put(self, pk: str, sk: str, body: Mapping[str, Any]) -> None:
        with calls.named("dynamodb:PutItem"):
            self._dynamodb.put_item(
                TableName=self._table, Item={"pk": {"S": pk}, "sk": {"S": sk}, "body": {"S": json.dumps(body)}}
            )

    def _items(self, pk: str, *, newest: int | None = None) -> list[Mapping[str, Any]]:
        with calls.named("dynamodb:Query"):
            pages = self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": pk}},
                ScanIndexForward=newest is None,
                ConsistentRead=True,
                PaginationConfig={} if newest is None else {"MaxItems": newest},
            )
            return [item for page in pages for item in page["Items"]]


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Turn an item that says something else than expected into a LedgerItemError that names it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError, OSError, EOFError, zlib.error) as error:
        msg = f"ledger item {what!r} cannot be read ({error!r}): delete it, or deploy the version that wrote it"
        raise LedgerItemError(msg) from error


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _closed_day(item: Mapping[str, Any]) -> ClosedDay:
    day, _, region = item["sk"]["S"].partition("#")
    return ClosedDay.from_json(day, region, _body(item))


def _allowance(body: Mapping[str, Any]) -> Allowance:
    return Allowance(Decimal(body["usd"]), _moment(body["until"]), body["reason"], body["by"])


def _wanted(body: Mapping[str, Any] | None) -> Wanted:
    if body is None:
        return Wanted(Level.RELEASED)
    return Wanted(Level.named(body["level"]), _moment(body["at"]))


def _series_key(month: datetime) -> str:
    return f"series#{month.astimezone(UTC):%Y-%m}"


def _series(region: str, text: str) -> Series:
    namespace, metric, dimensions, model, kind, tier, by_tier = json.loads(text)
    pairs = tuple((name, value) for name, value in dimensions)
    return Series(region, namespace, metric, pairs, model, Kind(kind), Tier(tier), bool(by_tier))


def _body(item: Mapping[str, Any]) -> Mapping[str, Any]:
    body = json.loads(item["body"]["S"])
    if not isinstance(body, dict):
        msg = f"{body!r} is no object"
        raise TypeError(msg)
    return body
