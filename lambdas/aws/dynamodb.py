"""DynamoDB: the ledger of decisions, stops and releases, of allowances, and of the models seen.

One table, keys ``pk`` and ``sk``, all that is said in ``body`` as JSON:

===================  ==============  =================================================================
pk                   sk              body
===================  ==============  =================================================================
``decision``         time            a verdict that differs from the one before
``decision``         ``latest``      the last tick's verdict and figures
``stop``             time            what a stop did, and how the brake stood before
``release``          time            who released, why, what was done
``brake``            ``wanted``      the level the last stop or release wants, and since when (``at``)
``allowance``        its words       dollars, expiry, reason, name
``series#YYYY-MM``   region          the metric series seen in that month (``series``)
``closed``           YYYY-MM-DD      what the closed hours of a day cost, and ``until`` when they go
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
from lambdas.core.permissions import On, needs
from lambdas.core.usage import Kind, Series

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LATEST = "latest"
_WANTED = "wanted"


class LedgerTable:
    """The ledger. Losing it loses history, never the ability to stop."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        """Take the client and the table's name."""
        self._dynamodb = client
        self._table = table

    @needs("dynamodb:Query", on=On.LEDGER)
    def allowances(self, now: datetime) -> Sequence[Allowance]:
        """Return the allowances that have not expired."""
        bodies = self._query("allowance")
        with _decoding("allowance"):
            granted = [
                Allowance(Decimal(body["usd"]), _moment(body["until"]), body["reason"], body["by"]) for body in bodies
            ]
        return [each for each in granted if now < each.until]

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
        self._put("allowance", hashlib.sha256(words.encode()).hexdigest()[:32], body)

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
                _series(item["sk"]["S"], text)
                for page in pages
                for item in page["Items"]
                for text in item.get("series", {}).get("SS", ())
            )

    @needs("dynamodb:UpdateItem", on=On.LEDGER)
    def remember_series(self, month: datetime, series: Iterable[Series]) -> None:
        """Add series to those of the month; adding to a set is safe to repeat and to do side by side."""
        by_region: defaultdict[str, list[str]] = defaultdict(list)
        for each in series:
            by_region[each.region].append(
                json.dumps([each.namespace, each.metric, each.dimensions, each.model, each.kind])
            )
        for region, texts in by_region.items():
            with calls.named("dynamodb:UpdateItem"):
                self._dynamodb.update_item(
                    TableName=self._table,
                    Key={"pk": {"S": _series_key(month)}, "sk": {"S": region}},
                    UpdateExpression="ADD series :new",
                    ExpressionAttributeValues={":new": {"SS": sorted(texts)}},
                )

    @needs("dynamodb:GetItem", on=On.LEDGER)
    def latest_decision(self) -> Mapping[str, Any] | None:
        """Return the meter's last decision, with its time as ``at``."""
        return self._get("decision", _LATEST)

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def record_decision(self, at: datetime, body: dict[str, Any], *, news: bool) -> None:
        """Make a decision the latest; keep it in the history as well when it is news."""
        stamped = {"at": _stamp(at), **body}
        if news:
            self._put("decision", _stamp(at), stamped)
        self._put("decision", _LATEST, stamped)

    @needs("dynamodb:DeleteItem", on=On.LEDGER)
    def forget_verdict(self) -> None:
        """Forget the meter's last decision: after a release it judges afresh."""
        with calls.named("dynamodb:DeleteItem"):
            self._dynamodb.delete_item(TableName=self._table, Key={"pk": {"S": "decision"}, "sk": {"S": _LATEST}})

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def want(self, level: Level, at: datetime) -> bool:
        """Keep the level the brake is meant to have from a moment on; False when a later word stands already."""
        stamp = _stamp(at)
        try:
            with calls.named("dynamodb:PutItem"):
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item={
                        "pk": {"S": "brake"},
                        "sk": {"S": _WANTED},
                        "at": {"S": stamp},
                        "body": {"S": json.dumps({"level": str(level), "at": stamp})},
                    },
                    ConditionExpression="attribute_not_exists(#at) OR #at <= :at",
                    ExpressionAttributeNames={"#at": "at"},
                    ExpressionAttributeValues={":at": {"S": stamp}},
                )
        except AwsCallError as error:
            if error.code == "ConditionalCheckFailedException":
                return False
            raise
        return True

    @needs("dynamodb:GetItem", on=On.LEDGER)
    def wanted(self) -> Wanted:
        """Return the level the brake is meant to have; released before the first stop."""
        body = self._get("brake", _WANTED)
        if body is None:
            return Wanted(Level.RELEASED)
        with _decoding("brake wanted"):
            return Wanted(Level.named(body["level"]), _moment(body["at"]))

    @needs("dynamodb:Query", on=On.LEDGER)
    def closed_days(self, first: date, last: date) -> Sequence[ClosedDay]:
        """Return the days from the first to the last that have closed hours; days that have none are left out."""
        with calls.named("dynamodb:Query"):
            pages = self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues={
                    ":pk": {"S": "closed"},
                    ":first": {"S": first.isoformat()},
                    ":last": {"S": last.isoformat()},
                },
                ConsistentRead=True,
            )
            items = [item for page in pages for item in page["Items"]]
        with _decoding("closed"):
            return [ClosedDay.from_json(item["sk"]["S"], _body(item)) for item in items]

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def close(self, day: ClosedDay, *, closed_before: datetime) -> bool:
        """Keep a day whose hours were closed until ``closed_before``; False when another run closed hours meanwhile."""
        start = ClosedDay.open(day.day).until
        condition = "#until = :before" if closed_before > start else "attribute_not_exists(#until) OR #until = :before"
        try:
            with calls.named("dynamodb:PutItem"):
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item={
                        "pk": {"S": "closed"},
                        "sk": {"S": day.day.isoformat()},
                        "until": {"S": _stamp(day.until)},
                        "body": {"S": json.dumps(day.to_json())},
                    },
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#until": "until"},
                    ExpressionAttributeValues={":before": {"S": _stamp(closed_before)}},
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
        return next(iter(self._query(kind, newest=1)), None)

    def _get(self, pk: str, sk: str) -> Mapping[str, Any] | None:
        with calls.named("dynamodb:GetItem"):
            found = self._dynamodb.get_item(
                TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True
            )
        with _decoding(f"{pk} {sk}"):
            return _body(found["Item"]) if "Item" in found else None

    def _put(self, pk: str, sk: str, body: Mapping[str, Any]) -> None:
        with calls.named("dynamodb:PutItem"):
            self._dynamodb.put_item(
                TableName=self._table, Item={"pk": {"S": pk}, "sk": {"S": sk}, "body": {"S": json.dumps(body)}}
            )

    def _query(self, pk: str, *, newest: int | None = None) -> list[Mapping[str, Any]]:
        with calls.named("dynamodb:Query"):
            pages = self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": pk}},
                ScanIndexForward=newest is None,
                PaginationConfig={} if newest is None else {"MaxItems": newest},
            )
            items = [item for page in pages for item in page["Items"]]
        with _decoding(pk):
            return [_body(item) for item in items]


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


def _series_key(month: datetime) -> str:
    return f"series#{month.astimezone(UTC):%Y-%m}"


def _series(region: str, text: str) -> Series:
    namespace, metric, dimensions, model, kind = json.loads(text)
    return Series(region, namespace, metric, tuple((name, value) for name, value in dimensions), model, Kind(kind))


def _body(item: Mapping[str, Any]) -> Mapping[str, Any]:
    body: Mapping[str, Any] = json.loads(item["body"]["S"])
    return body
