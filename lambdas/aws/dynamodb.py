"""DynamoDB: the ledger of decisions, stops and releases, of allowances, and of the models seen.

One table, keys ``pk`` and ``sk``, all that is said in ``body`` as JSON:

===================  ==============  =================================================================
pk                   sk              body
===================  ==============  =================================================================
``now``              ``decision``    the last full read's verdict and figures
``now``              ``watch``       what it left for the ticks after it
``now``              ``wanted``      the level the last stop or release wants, since when (``at``), and who said so
``now``              ``alone#``      and what is stopped alone, as `core.scopes` spells it; whether it is ``releasing``
``now``              ``acting``      who stops or releases at this moment (``who``), and until when at most (``until``)
``now``              ``inventory``   the regions found in use, and a mark that changes with what stands there
``now``              ``told``        what goes on and calls for somebody, and how often it was told
``now``              ``allowance#``  and its words: dollars, expiry, reason, name; ``expires`` is for DynamoDB
``decision``         time            a verdict that differs from the one before
``stop``             time            what a stop did, and how the brake stood before
``release``          time            who released, why, what was done
``series#YYYY-MM``   region#shard    the metric series seen in that month (``series``)
``closed``           day#region      what the closed hours of a day cost there, and ``until`` when they go
``held``             lever#key       what a stop holds down, as it was before; ``mark`` changes when it is held again
``disarmed``         role/x, user/x  disarmed so that it can be deleted: not to be armed ``until`` then; ``by`` whom
``arming``           ``next``        when the next arming run begins (``at``), and which event it is for (``by``)
``told``             a digest        when people were last told of something (``at``), and by which event (``by``)
``count``            what#YYYY-MM    how many of something there were in that month (``number``)
``kept``             its name        a larger document, compressed (``blob``): prices, inventory, cross-check
===================  ==============  =================================================================
"""

import gzip
import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.core import stored
from lambdas.core.closed import ClosedDay
from lambdas.core.errors import AwsCallError, LedgerItemError
from lambdas.core.levels import Level, Wanted
from lambdas.core.levers import Held, Remembered
from lambdas.core.limits import Allowance
from lambdas.core.memory import Memory
from lambdas.core.permissions import On, needs
from lambdas.core.usage import Kind, Series, Tier
from lambdas.core.windows import Window

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NOW = "now"
"""All that a tick of the meter needs while nothing is due, in one read."""
_ALLOWANCE = "allowance#"
_ALONE = "alone#"
_HELD = "held"
_DISARMED = "disarmed"
UNREADABLE = "unreadable"
"""The lever of what is held down and cannot be read: there is none of that name, so that a release says it failed."""
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
        alone: list[str] = []
        releasing: list[str] = []
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
                    elif name.startswith(_ALONE):
                        (releasing if body.get("releasing") else alone).append(str(body["scope"]))
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
            tuple(alone),
            releasing=tuple(releasing),
            told=bodies.get("told"),
        )

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def note(self, name: str, body: Mapping[str, Any], at: datetime) -> None:
        """Keep ``inventory`` or ``told`` as of a moment where every tick finds it, unless there is a later one."""
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
        window = [] if allowance.window is None else [allowance.window.value]
        words = json.dumps([str(allowance.usd), allowance.reason, allowance.by, *window])
        body = {
            "usd": str(allowance.usd),
            "until": _stamp(allowance.until),
            "reason": allowance.reason,
            "by": allowance.by,
        }
        body |= {"window": allowance.window.value} if allowance.window is not None else {}
        # Whoever reads it looks at ``until``; this has DynamoDB delete it some day after.
        expires = {"expires": {"N": str(int(allowance.until.timestamp()) + 1)}}
        self._put(_NOW, _ALLOWANCE + _digest(words), body, expires)

    @needs("dynamodb:Query", "dynamodb:DeleteItem", on=On.LEDGER)
    def end_allowances(self) -> int:
        """End all allowances, those that cannot be read among them; return how many there were."""
        items = self._items(_NOW, prefix=_ALLOWANCE)
        for each in items:
            self._delete(_NOW, each["sk"]["S"])
        return len(items)

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
    def in_use(self) -> tuple[str, ...]:
        """Return the regions the inventory found in use although nobody listed them."""
        with _decoding("now inventory"):
            return tuple(map(str, (self._get(_NOW, "inventory") or {}).get("discovered", ())))

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
        self._delete(_NOW, "decision")

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def want(self, wanted: Wanted, at: datetime) -> bool:
        """Keep the level the brake is meant to have from a moment on; False when a later word stands already."""
        stamp = _stamp(at)
        body = {
            "level": str(wanted.level),
            "at": stamp,
            "by": wanted.by,
            "windows": list(wanted.windows),
            "done": wanted.done,
        }
        body |= {"reversible_only": True} if wanted.reversible_only else {}
        return self._put_unless_later("wanted", body, stamp)

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def stop_alone(self, scope: str, reason: str, at: datetime) -> None:
        """Keep that something is to stay stopped alone."""
        self._put_alone(scope, {"scope": scope, "reason": reason, "at": _stamp(at)}, "stopped")

    @needs("dynamodb:Query", on=On.LEDGER)
    def stopped_alone(self, *, releasing: bool = False) -> tuple[str, ...]:
        """Return what is to stay stopped alone; or what is being released, and may not be yet."""
        found: list[str] = []
        for each in self._items(_NOW, prefix=_ALONE):
            # One that cannot be read must not hide the others; each tick tells of it.
            with suppress(LedgerItemError), _decoding(each["sk"]["S"]):
                body = _body(each)
                found += [str(body["scope"])] if bool(body.get("releasing")) is releasing else []
        return tuple(found)

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def release_alone(self, scope: str, at: datetime, *, unless_stopped: bool = False) -> None:
        """Keep that something is to be stopped alone no more, until that is done."""
        body = {"scope": scope, "at": _stamp(at), "releasing": True}
        self._put_alone(scope, body, "releasing", unless="stopped" if unless_stopped else "")

    @needs("dynamodb:DeleteItem", on=On.LEDGER)
    def released_alone(self, scope: str) -> None:
        """Forget what is stopped alone no more, unless somebody has stopped it again."""
        self._delete(_NOW, _ALONE + _digest(scope), "#mark = :mark", "at", "releasing")

    def _put_alone(self, scope: str, body: Mapping[str, Any], state: str, unless: str = "") -> None:
        item = {
            "pk": {"S": _NOW},
            "sk": {"S": _ALONE + _digest(scope)},
            "at": {"S": state},
            "body": {"S": json.dumps(body)},
        }
        # Without a state it must not replace, it replaces any: no item's state is empty.
        condition = "attribute_not_exists(#at) OR #at <> :unless"
        self._put_item_if(item, condition, {"#at": "at"}, {":unless": {"S": unless}})

    @needs("dynamodb:PutItem", "dynamodb:GetItem", on=On.LEDGER)
    def begin(self, who: str, now: datetime, until: datetime) -> str | None:
        """Say that a ``stop``, a ``release`` or a ``keep`` begins; return who is at it already, None when nobody is.

        Who only keeps a stop on gives way to both others.
        """
        item = {"who": {"S": who}, "until": {"S": _stamp(until)}}
        try:
            with calls.named("dynamodb:PutItem"):
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item={"pk": {"S": _NOW}, "sk": {"S": "acting"}, "body": {"S": "{}"}, **item},
                    # Whoever died at it is waited for no longer than they said.
                    ConditionExpression="attribute_not_exists(#until) OR #until <= :now"
                    + (" OR #who = :keep" if who != "keep" else ""),
                    ExpressionAttributeNames={"#until": "until"} | ({"#who": "who"} if who != "keep" else {}),
                    ExpressionAttributeValues={":now": {"S": _stamp(now)}}
                    | ({":keep": {"S": "keep"}} if who != "keep" else {}),
                )
        except AwsCallError as error:
            if error.code != "ConditionalCheckFailedException":
                raise
        else:
            return None
        with calls.named("dynamodb:GetItem"):
            found = self._dynamodb.get_item(
                TableName=self._table, Key={"pk": {"S": _NOW}, "sk": {"S": "acting"}}, ConsistentRead=True
            )
        # It may have ended in between; then it is as if it went on a moment longer.
        other = found.get("Item", {"who": {"S": who}, "until": {"S": ""}})
        # The SDK tries again when an answer is lost: then it is one's own claim that is in the way.
        mine = other["until"]["S"] == _stamp(until)
        return None if other["who"]["S"] == who and mine else other["who"]["S"]

    @needs("dynamodb:DeleteItem", on=On.LEDGER)
    def end(self, until: datetime) -> None:
        """Say that what began and was to last until then has ended."""
        self._delete(_NOW, "acting", "#mark = :mark", "until", _stamp(until))

    @needs("dynamodb:UpdateItem", on=On.LEDGER)
    def remember(self, held: Held) -> None:
        """Keep what is about to be held down as it was before. What is remembered already keeps its first words."""
        body = {"words": held.words, "before": held.before, "lever": held.lever, "key": held.key}
        with calls.named("dynamodb:UpdateItem"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"pk": {"S": _HELD}, "sk": {"S": _held_key(held)}},
                UpdateExpression="SET body = if_not_exists(body, :body) ADD mark :one",
                ExpressionAttributeValues={":body": {"S": json.dumps(body)}, ":one": {"N": "1"}},
            )

    @needs("dynamodb:Query", on=On.LEDGER)
    def held(self) -> Sequence[Remembered]:
        """Return what stops hold down; what cannot be read as a `Held` of a lever that there is not, with why."""
        found = []
        for item in self._items(_HELD):
            name = item["sk"]["S"]
            # One item that cannot be read must not keep the others from being put back.
            try:
                with _decoding(f"{_HELD} {name}"):
                    found.append(_remembered(item))
            except LedgerItemError as error:
                words = f"{name} by hand, and then delete its item of the ledger ({error})"
                found.append(Remembered(Held(UNREADABLE, name, words), ""))
        return found

    @needs("dynamodb:DeleteItem", on=On.LEDGER)
    def forget(self, remembered: Remembered) -> bool:
        """Forget what was put back; False when a stop has held it down again since it was read."""
        return self._delete(_HELD, _held_key(remembered.held), "#mark = :mark", "mark", number=remembered.mark)

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

    @needs("dynamodb:UpdateItem", on=On.LEDGER)
    def count(self, what: str, number: int, month: datetime) -> None:
        """Add to what was counted in the month of the moment. After a time-out it may be added twice, never lost."""
        with calls.named("dynamodb:UpdateItem"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_count_key(what, month),
                UpdateExpression="ADD #number :number",
                ExpressionAttributeNames={"#number": "number"},
                ExpressionAttributeValues={":number": {"N": str(number)}},
            )

    @needs("dynamodb:GetItem", on=On.LEDGER)
    def counted(self, what: str, month: datetime) -> int:
        """Return what was counted in the month of the moment."""
        with calls.named("dynamodb:GetItem"):
            found = self._dynamodb.get_item(TableName=self._table, Key=_count_key(what, month), ConsistentRead=True)
        with _decoding(f"count {what}"):
            return int(found["Item"]["number"]["N"]) if "Item" in found else 0

    @needs("dynamodb:Query", on=On.LEDGER)
    def disarmed(self, now: datetime) -> frozenset[str]:
        """Return the holders that were disarmed so that they can be deleted, and are not to be armed again yet."""
        items = self._items(_DISARMED)
        with _decoding(_DISARMED):
            return frozenset(item["sk"]["S"] for item in items if _moment(_body(item)["until"]) > now)

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def remember_disarmed(self, holder: str, until: datetime, by: str) -> None:
        """Keep that a holder is not to be armed until then, and who tried to delete it."""
        self._put(_DISARMED, holder, {"until": _stamp(until), "by": by})

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def claim_arming(self, run: datetime, *, covers: datetime, by: str) -> bool:
        """Say that an arming run begins at a moment; False when another one covers that moment already.

        ``by`` names the event the run is for: asked again, as Lambda's retries do, it is granted again.
        """
        return self._put_item_if(
            {"pk": {"S": "arming"}, "sk": {"S": "next"}, "at": {"S": _stamp(run)}, "by": {"S": by}},
            "attribute_not_exists(#at) OR #at < :covers OR #by = :by",
            {"#at": "at", "#by": "by"},
            {":covers": {"S": _stamp(covers)}, ":by": {"S": by}},
        )

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        """Say that people are told of something now; False when they were since then, for another event than ``by``."""
        return self._put_item_if(
            {
                "pk": {"S": "told"},
                "sk": {"S": _digest(what)},
                "at": {"S": _stamp(now)},
                "by": {"S": by},
                "body": {"S": json.dumps({"what": what})},
            },
            "attribute_not_exists(#at) OR #at < :since OR #by = :by",
            {"#at": "at", "#by": "by"},
            {":since": {"S": _stamp(unless_since)}, ":by": {"S": by}},
        )

    @needs("dynamodb:PutItem", on=On.LEDGER)
    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        """Keep a ``stop`` or a ``release``."""
        self._put(kind, _stamp(at), {"at": _stamp(at), **body})

    @needs("dynamodb:Query", on=On.LEDGER)
    def history(self, kind: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return so many of the newest ``decision``, ``stop`` or ``release`` records, the newest first.

        One that cannot be read stands as ``broken``, with why.
        """
        found: list[Mapping[str, Any]] = []
        for item in self._items(kind, newest=limit):
            try:
                with _decoding(f"{kind} {item['sk']['S']}"):
                    found.append(_body(item))
            except LedgerItemError as error:
                found.append({"broken": str(error)})
        return found

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
        item = {"pk": {"S": _NOW}, "sk": {"S": name}, "at": {"S": stamp}, "body": {"S": json.dumps(body)}}
        return self._put_item_if(item, condition, {"#at": "at"}, {":old": {"S": old}})

    def _put_item_if(self, item: dict[str, Any], condition: str, names: dict[str, str], values: dict[str, Any]) -> bool:
        """Put an item if the one in its place meets a condition; False when it does not."""
        try:
            with calls.named("dynamodb:PutItem"):
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                )
        except AwsCallError as error:
            if error.code == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _put(self, pk: str, sk: str, body: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> None:
        item = {"pk": {"S": pk}, "sk": {"S": sk}, "body": {"S": json.dumps(body)}, **(more or {})}
        with calls.named("dynamodb:PutItem"):
            self._dynamodb.put_item(TableName=self._table, Item=item)

    def _delete(self, pk: str, sk: str, condition: str = "", name: str = "", text: str = "", number: str = "") -> bool:
        """Delete an item; with a condition only if its attribute still has that value, and tell whether it had."""
        only_if: dict[str, Any] = {}
        if condition:
            value = {"N": number} if number else {"S": text}
            only_if = {
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {"#mark": name},
                "ExpressionAttributeValues": {":mark": value},
            }
        try:
            with calls.named("dynamodb:DeleteItem"):
                self._dynamodb.delete_item(TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, **only_if)
        except AwsCallError as error:
            if not (condition and error.code == "ConditionalCheckFailedException"):
                raise
            return False
        return True

    def _items(self, pk: str, *, newest: int | None = None, prefix: str = "") -> list[Mapping[str, Any]]:
        key, values = "pk = :pk", {":pk": {"S": pk}}
        if prefix:
            key, values = f"{key} AND begins_with(sk, :prefix)", values | {":prefix": {"S": prefix}}
        with calls.named("dynamodb:Query"):
            pages = self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression=key,
                ExpressionAttributeValues=values,
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
    window = Window(body["window"]) if "window" in body else None
    return Allowance(stored.usd(body["usd"]), _moment(body["until"]), body["reason"], body["by"], window)


def _wanted(body: Mapping[str, Any] | None) -> Wanted:
    if body is None:
        return Wanted(Level.RELEASED)
    # What an older version wrote says neither who nor why: then only a person ends it.
    return Wanted(
        Level.named(body["level"]),
        _moment(body["at"]),
        str(body.get("by", "")),
        tuple(map(str, body.get("windows", ()))),
        bool(body.get("done", True)),
        bool(body.get("reversible_only", False)),
    )


def _remembered(item: Mapping[str, Any]) -> Remembered:
    body = _body(item)
    lever, key, words = (str(body[each]) for each in ("lever", "key", "words"))
    return Remembered(Held(lever, key, words, dict(body["before"])), item["mark"]["N"])


def _held_key(held: Held) -> str:
    return f"{held.lever}#{held.key}"


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _count_key(what: str, month: datetime) -> dict[str, Any]:
    return {"pk": {"S": "count"}, "sk": {"S": f"{what}#{month.astimezone(UTC):%Y-%m}"}}


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
