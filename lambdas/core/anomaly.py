"""What AWS Cost Anomaly Detection says by EventBridge, parsed strictly, and the mail about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from lambdas.core import stored
from lambdas.core.errors import RefusedError
from lambdas.core.notice import Links, Notice, compose

SOURCE, DETAIL_TYPE = "aws.ce", "Anomaly Detected"
_BEDROCK, _EDITION = "Amazon Bedrock", "(Amazon Bedrock Edition)"
_LONGEST = 300
"""Of a service's name or a link: both are AWS's words, and go into a mail."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Spend on Bedrock that AWS did not expect."""

    id: str
    """The same for all that is told of one anomaly while it grows."""
    event_id: str
    at: datetime
    """When it was told."""
    impact_usd: Decimal
    """What was spent beyond what AWS expected, as far as it is Bedrock's."""
    services: tuple[str, ...]
    link: str
    """AWS's page about it; empty when it gives none."""

    def __str__(self) -> str:
        """Return the words for people."""
        return f"${self.impact_usd:,.2f} more than AWS expected on {', '.join(self.services)} (anomaly {self.id})"


def is_bedrock(service: str) -> bool:
    """Tell whether a service of the bill is Bedrock's: its own, or a model's that bills through AWS Marketplace."""
    return service == _BEDROCK or service.startswith(f"{_BEDROCK} ") or service.endswith(_EDITION)


def parse_anomaly(event: Mapping[str, Any], *, account_id: str, monitor_arn: str, least_usd: Decimal) -> Anomaly | None:
    """Read an event of Cost Anomaly Detection; None when it is not about Bedrock, or below what is told of.

    ``monitor_arn`` ends with ``*`` where only the rule that sent the event knows which monitor is ours.
    Raises RefusedError for one of another account or monitor, or that does not say what such an event says.
    """
    try:
        return _parsed(event, account_id, monitor_arn, least_usd)
    except (KeyError, ValueError, TypeError, AttributeError, InvalidOperation) as error:
        msg = f"an event of Cost Anomaly Detection that cannot be read ({error!r}): nothing was done"
        raise RefusedError(msg) from error


def _parsed(event: Mapping[str, Any], account_id: str, monitor_arn: str, least_usd: Decimal) -> Anomaly | None:
    detail = event["detail"]
    if (event["source"], event["detail-type"]) != (SOURCE, DETAIL_TYPE):
        msg = f"an event {event['detail-type']!r} of {event['source']!r} is no anomaly: nothing was done"
        raise RefusedError(msg)
    if not event["account"] == detail["accountId"] == account_id:
        msg = f"an anomaly of account {detail['accountId']!r}, this is {account_id}: ignored"
        raise RefusedError(msg)
    if not _is_ours(detail["monitorArn"], monitor_arn):
        msg = f"an anomaly of the monitor {detail['monitorArn']!r}, only {monitor_arn!r} is ours: ignored"
        raise RefusedError(msg)
    whole = _usd(detail["impact"]["totalImpact"])
    causes = [each for each in detail["rootCauses"] if each.get("linkedAccount", account_id) == account_id]
    mine = [each for each in causes if is_bedrock(_text(each["service"]))]
    dimension = _text(detail.get("dimensionValue", ""))
    if is_bedrock(dimension) and len(causes) == len(detail["rootCauses"]):
        impact, services = whole, [dimension]
    else:
        # A monitor of something else than services, or of other accounts too: Bedrock's part alone counts, and ours.
        impact = min(whole, sum((_usd(each["impact"]["contribution"]) for each in mine), Decimal(0)))
        services = [_text(each["service"]) for each in mine]
    if not services or impact < least_usd:
        return None
    return Anomaly(
        id=_word(detail["anomalyId"]),
        event_id=_word(event["id"]),
        at=stored.moment(event["time"]),
        impact_usd=impact,
        services=tuple(dict.fromkeys(services)),
        link=_text(detail.get("anomalyDetailsLink", "")),
    )


def _is_ours(arn: str, monitor_arn: str) -> bool:
    whichever = monitor_arn.removesuffix("*")
    return arn == monitor_arn or (whichever != monitor_arn and arn.startswith(whichever))


def _usd(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        msg = f"{value!r} is no amount"
        raise TypeError(msg)
    amount = Decimal(str(value))
    if not amount.is_finite():
        msg = f"{value!r} is no amount"
        raise ValueError(msg)
    return amount


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"{value!r} is no text"
        raise TypeError(msg)
    return " ".join(value.split())[:_LONGEST]


def _word(value: object) -> str:
    word = _text(value)
    if not word or " " in word:
        msg = f"{value!r} is no id"
        raise ValueError(msg)
    return word


def anomaly_notice(anomaly: Anomaly, remarks: str, links: Links) -> Notice:
    """Compose the mail about an anomaly that only warns; ``remarks`` are more words, or empty."""
    lines = [
        f"Cost Anomaly Detection: {anomaly}.",
        *([f"{remarks[0].upper()}{remarks[1:]}."] if remarks else []),
        "AWS is up to 24 hours late; the meter sees more. This is mailed once for each anomaly.",
        *([anomaly.link] if anomaly.link else []),
        "",
        "Nothing was stopped. Stop now:",
        links.kill,
    ]
    return compose("Bedrock spend: AWS sees an anomaly", lines, links, "anomaly")
