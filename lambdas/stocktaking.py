"""The inventory's shell: look around → list each region → join with what was known → tell → keep."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from lambdas.core.assumptions import Assumptions
from lambdas.core.errors import AwsCallError, GuardrailError, LedgerItemError
from lambdas.core.inventory import CostKind, Inventory
from lambdas.core.notice import Links, Notice, unlisted_notice
from lambdas.core.sights import (
    LOOK_FOR_REGIONS,
    NAMES,
    REGIONS,
    BatchJob,
    BatchTokens,
    Copies,
    Holding,
    Regions,
    Sight,
    TokenUsd,
    batch_tokens_due,
    looked_around,
    read_since,
    taken,
)
from lambdas.core.windows import Window

T = TypeVar("T")

KEPT_AS = "inventory"
"""The name of the inventory in the ledger, and of the note about it."""

_REGIONS_AT_ONCE = 10


class Stock(Protocol):
    """Where everything is listed; each call is about one region and may raise AwsCallError."""

    def regions(self) -> Sequence[str]:
        """Return the regions that are enabled in the account."""

    def planes_in_use(self, region: str) -> tuple[str, ...]:
        """Return the namespaces of the planes that had metrics lately."""

    def profiles(self, region: str) -> Mapping[str, tuple[str, ...]]:
        """Return the models behind application inference profiles."""

    def provisioned(self, region: str) -> Sequence[Holding]:
        """Return provisioned throughput."""

    def deployments(self, region: str) -> Sequence[Holding]:
        """Return custom-model deployments."""

    def endpoints(self, region: str) -> Sequence[Holding]:
        """Return marketplace endpoints."""

    def customization_jobs(self, region: str, month: datetime) -> Sequence[Holding]:
        """Return the customization jobs of the month."""

    def evaluation_jobs(self, region: str) -> Sequence[Holding]:
        """Return the evaluation jobs that run."""

    def imported(self, region: str, since: datetime, until: datetime) -> Sequence[Copies]:
        """Return the imported models and how many copies ran."""

    def batch_jobs(self, region: str, month: datetime) -> Sequence[BatchJob]:
        """Return the batch jobs of the month."""

    def batch_tokens(self, region: str, since: datetime, until: datetime) -> Sequence[BatchTokens]:
        """Return the tokens of batch inference by model and hour."""


class Ledger(Protocol):
    """Where the inventory is kept."""

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document, None before the first."""

    def note(self, name: str, body: Mapping[str, Any], at: datetime) -> None:
        """Keep a short note as of a moment where every tick of the meter finds it."""


@dataclass(frozen=True, slots=True)
class StockTools:
    """All that taking stock needs."""

    stock: Stock
    ledger: Ledger
    regions: tuple[str, ...]
    """Those the configuration lists."""
    assumptions: Assumptions
    token_usd: TokenUsd
    links: Links
    send: Callable[[Notice], None]


@dataclass(frozen=True, slots=True)
class Stocktaking:
    """What was found, and what failed that a person must look at. A part that cannot be listed is a gap instead."""

    inventory: Inventory
    problems: tuple[str, ...]


def take_stock(now: datetime, tools: StockTools) -> Stocktaking:
    """Take stock once. Whatever fails, the rest is done, and what was known of it before stays."""
    problems: list[str] = []
    before, readable = _before(now, tools.ledger, problems)
    old = looked_around(before, _look_around(before, now, tools.stock), tools.regions, now)
    regions = tuple(dict.fromkeys((*tools.regions, *old.discovered)))
    with ThreadPoolExecutor(_REGIONS_AT_ONCE) as pool:
        looks = list(pool.map(lambda region: _look(region, old, now, tools.stock), regions))
    inventory = taken(old, [sight for sight, _ in looks], now, tools.assumptions, tools.token_usd)
    gaps = (*inventory.blind, *_in_words(failed for _, fails in looks for failed in fails), *inventory.gaps)
    inventory = replace(inventory, gaps=gaps)
    if looks and not any(sight.seen for sight, _ in looks):
        problems.append(f"nothing could be listed ({gaps[-1] if gaps else 'no region'}): what was known before is kept")
    inventory = replace(inventory, told=_tell(inventory, tools, problems))
    if readable:
        _tried(lambda: _keep(inventory, tools.ledger), problems)
    return Stocktaking(inventory, tuple(problems))


def _before(now: datetime, ledger: Ledger, problems: list[str]) -> tuple[Inventory, bool]:
    """Return the last inventory, and whether a new one may take its place."""
    try:
        body = ledger.kept(KEPT_AS)
        return (Inventory(now) if body is None else Inventory.from_json(body)), True
    except AwsCallError as error:
        # What could not be read must not be written over: it holds what ended and cannot be listed again.
        problems.append(str(error))
        return Inventory(now), False
    except (LedgerItemError, ValueError, KeyError, TypeError) as error:
        problems.append(
            f"the last inventory cannot be read, what had ended before is lost ({error!r}); a new one began"
        )
        return Inventory(now), True


def _keep(inventory: Inventory, ledger: Ledger) -> None:
    """Keep the inventory, and then tell the meter that it changed."""
    ledger.keep(KEPT_AS, inventory.to_json())
    ledger.note(KEPT_AS, {"discovered": sorted(inventory.discovered), "mark": inventory.mark}, inventory.at)


def _look_around(old: Inventory, now: datetime, stock: Stock) -> Regions | None:
    """Look for use in all regions of the account, once an hour; return None when it is not due."""
    last = old.seen.get(REGIONS)
    if last is not None and now - last < LOOK_FOR_REGIONS:
        return None
    try:
        regions = stock.regions()
    except AwsCallError as error:
        return Regions({}, (f"use of regions that are not listed cannot be looked for ({error.code})",))
    with ThreadPoolExecutor(_REGIONS_AT_ONCE) as pool:
        answers = list(pool.map(lambda region: _tried_planes(region, stock), regions))
    refused: defaultdict[str, list[str]] = defaultdict(list)
    for region, answer in zip(regions, answers, strict=True):
        if isinstance(answer, str):
            refused[answer].append(region)
    return Regions(
        {region: answer for region, answer in zip(regions, answers, strict=True) if not isinstance(answer, str)},
        tuple(f"use of {', '.join(where)} cannot be looked for ({code})" for code, where in sorted(refused.items())),
    )


def _tried_planes(region: str, stock: Stock) -> tuple[str, ...] | str:
    """Return the planes in use, or the code of the error."""
    try:
        return stock.planes_in_use(region)
    except AwsCallError as error:
        return error.code


@dataclass(frozen=True, slots=True)
class _Failed:
    region: str
    what: str
    code: str


def _look(region: str, old: Inventory, now: datetime, stock: Stock) -> tuple[Sight, list[_Failed]]:
    """List everything in a region; what fails is not in ``seen`` of the sight."""
    failed: list[_Failed] = []
    seen: set[str] = set()

    def listed(what: str, call: Callable[[], T]) -> T | None:
        try:
            answer = call()
        except AwsCallError as error:
            failed.append(_Failed(region, what, error.code))
            return None
        seen.add(what)
        return answer

    month = Window.MONTH.start(now)
    names = listed(NAMES, lambda: stock.profiles(region))
    holdings = [
        holding
        for kind, call in {
            CostKind.PROVISIONED: lambda: stock.provisioned(region),
            CostKind.DEPLOYMENT: lambda: stock.deployments(region),
            CostKind.ENDPOINT: lambda: stock.endpoints(region),
            CostKind.CUSTOMIZATION: lambda: stock.customization_jobs(region, month),
            CostKind.EVALUATION: lambda: stock.evaluation_jobs(region),
        }.items()
        for holding in listed(kind, call) or ()
    ]
    copies = listed(
        CostKind.IMPORTED, lambda: stock.imported(region, read_since(old, region, CostKind.IMPORTED, now), now)
    )
    jobs = listed(CostKind.BATCH, lambda: stock.batch_jobs(region, month)) or ()
    tokens: Sequence[BatchTokens] | None = ()
    if batch_tokens_due(old, region, jobs):
        since = read_since(old, region, CostKind.BATCH_TOKENS, now)
        tokens = listed(CostKind.BATCH_TOKENS, lambda: stock.batch_tokens(region, since, now))
    return Sight(region, frozenset(seen), names, holdings, copies or (), jobs, tokens or ()), failed


def _in_words(failed: Iterable[_Failed]) -> tuple[str, ...]:
    """Return one line for all regions in which the same could not be listed for the same reason."""
    regions: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for each in failed:
        regions[each.what, each.code].append(each.region)
    words = {
        NAMES: "names of inference profiles",
        CostKind.PROVISIONED: str(CostKind.PROVISIONED),
        CostKind.BATCH_TOKENS: "tokens of batch inference",
    }
    return tuple(
        f"{', '.join(where)}: {words.get(what, f'{what}s')} cannot be listed ({code})"
        for (what, code), where in regions.items()
    )


def _tell(inventory: Inventory, tools: StockTools, problems: list[str]) -> tuple[str, ...]:
    """Mail about regions in use that nobody listed, once each; return all that people were told of."""
    unheard = {region: planes for region, planes in inventory.discovered.items() if region not in inventory.told}
    if not unheard:
        return inventory.told
    untold = len(problems)
    _tried(lambda: tools.send(unlisted_notice(unheard, tools.links)), problems)
    # After the effect, and only if it was told: a failure repeats it at the next run.
    return (*inventory.told, *unheard) if len(problems) == untold else inventory.told


def _tried(call: Callable[[], None], problems: list[str]) -> None:
    try:
        call()
    except GuardrailError as error:
        problems.append(str(error))
