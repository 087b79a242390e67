"""What `make e2e` updates to has everything on that is off by itself, so that no part goes undeployed."""

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from stacks.configuration import File, load

EVERYTHING = Path(__file__).parents[2] / "drill" / "everything.toml"
LEFT_OFF = {
    "organization": "its stack is the management account's, and deployed alone",
    "options.keep_ledger": "the e2e run looks that nothing is left",
    "arming.listed": 'with mode = "all" nobody is listed',
    "work.spare": "spares what a stop would end",
    "pace.max_blind_usd": "a figure",
    "prices.override": "figures",
    "inventory.usd_per_hour": "figures",
}


def off(table: BaseModel, within: str = "") -> Iterator[str]:
    for name, field in type(table).model_fields.items():
        value, path = getattr(table, name), f"{within}{name}"
        if isinstance(value, BaseModel):
            yield from off(value, f"{path}.")
        elif (not value and not isinstance(value, int | Decimal)) or (value is False and field.default is False):
            yield path


def test_everything_is_on_that_can_be():
    file = File.model_validate(tomllib.loads(EVERYTHING.read_text(), parse_float=Decimal))
    assert set(off(file)) == set(LEFT_OFF)


def test_the_file_is_one_that_can_be_deployed():
    configuration = load(EVERYTHING, home="us-east-1")
    assert configuration.satellites == ("eu-central-1", "us-east-2", "us-west-2")
    assert configuration.encrypt
