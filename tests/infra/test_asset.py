"""What the Lambda runtime unpacks: our package and what it needs, and nothing that would run on one machine only."""

import hashlib
import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from lambdas.core.errors import GuardrailError
from stacks.asset import CompiledFileError, _copy, build

RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
"""What comes with the Lambda runtime."""

IMPORT_ALL = """
import importlib, json, pkgutil, sys
asset, runtime = sys.argv[1:]
sys.path += [asset, runtime]
import lambdas
names = [each.name for each in pkgutil.walk_packages(lambdas.__path__, "lambdas.")]
for name in names:
    importlib.import_module(name)
print(json.dumps({name: module.__file__ for name, module in sys.modules.items() if getattr(module, "__file__", None)}))
"""


@pytest.fixture(scope="module")
def asset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asset")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A folder with the packages of the Lambda runtime alone."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME:
        package = distribution(name)
        tops = {file.parts[0] for file in package.files or () if not file.parts[0].endswith(".dist-info")}
        for top in tops - {"..", "__pycache__"}:
            (folder / top).symlink_to(Path(str(package.locate_file(top))))
    return folder


@pytest.fixture(scope="module")
def imported(asset, runtime):
    """The file of each module that is loaded once everything of ours is imported, where nothing else is installed."""
    run = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-I", "-S", "-B", "-c", IMPORT_ALL, str(asset), str(runtime)],
        env={"AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return {name: Path(file) for name, file in json.loads(run.stdout).items()}


def files(folder):
    return {each.relative_to(folder): each for each in folder.rglob("*") if each.is_file()}


def test_every_module_imports_from_the_asset_and_the_runtime_alone(imported, asset):
    ours = {name: file for name, file in imported.items() if name.partition(".")[0] == "lambdas"}
    handlers = {name for name in ours if name.startswith("lambdas.handlers.")}
    assert handlers == {
        f"lambdas.handlers.{word}"
        for word in (
            *("arm", "crosscheck", "digest", "disarm", "drill", "inline", "install", "inventory", "kill"),
            *("meter", "prices", "release", "share", "status", "stop", "watch"),
        )
    }
    assert [name for name, file in ours.items() if not file.is_relative_to(asset)] == []


def test_powertools_comes_from_the_asset_and_boto3_from_the_runtime(imported, asset, runtime):
    assert imported["aws_lambda_powertools"].is_relative_to(asset)
    assert imported["boto3"].is_relative_to(runtime)


def test_the_price_table_is_in_the_asset(asset):
    assert (asset / "lambdas" / "core" / "price_table.json").read_bytes() == (
        Path(__file__).parents[2] / "lambdas" / "core" / "price_table.json"
    ).read_bytes()


def test_the_asset_holds_what_runs_and_nothing_else(asset):
    top = {each.name for each in asset.iterdir()}
    assert top == {"lambdas", "aws_lambda_powertools", "jmespath", "typing_extensions.py"}
    names = files(asset)
    assert [each for each in names if each.suffix in {".pyc", ".so", ".pyd", ".dylib", ".dll"}] == []
    assert [each for each in names if {"__pycache__", "tests", "stacks", "drill"} & set(each.parts)] == []


def test_the_asset_is_the_same_however_often_it_is_built(asset, tmp_path):
    build(tmp_path)

    def digests(folder):
        return {str(name): hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files(folder).items()}

    assert digests(tmp_path) == digests(asset)


def test_the_asset_fits_lambda(asset):
    # 250 MB unpacked is AWS's limit; a small asset starts faster.
    assert sum(each.stat().st_size for each in files(asset).values()) < 10_000_000


def test_a_compiled_distribution_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(CompiledFileError, match=r"pydantic_core carries the compiled .*: choose a pure-Python release"):
        _copy(distribution("pydantic_core"), tmp_path)
    assert issubclass(CompiledFileError, GuardrailError)
