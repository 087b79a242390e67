"""The Lambda asset: our package and the installed pure-Python distributions it needs, copied without Docker."""

import shutil
from importlib.metadata import Distribution, distribution
from pathlib import Path

import jsii
from aws_cdk import AssetHashType, BundlingOptions, DockerImage, ILocalBundling
from aws_cdk import aws_lambda as lambda_

from lambdas.core.errors import GuardrailError

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lambdas"
DISTRIBUTIONS = ("aws-lambda-powertools", "jmespath", "typing-extensions")
"""What `requirements/runtime.txt` pins; boto3 comes with the Lambda runtime."""

# Powertools carries optional parts whose own dependencies are not in the asset.
_LEFT_OUT = ("*.pyc", "__pycache__", "*.dist-info")
_COMPILED = {".so", ".pyd", ".dylib", ".dll"}


class CompiledFileError(GuardrailError):
    """A distribution that is not pure Python would run on one kind of machine only."""


def build(output: Path) -> None:
    """Fill a folder with what the Lambda runtime unpacks. Raises CompiledFileError."""
    shutil.copytree(PACKAGE, output / PACKAGE.name, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for name in DISTRIBUTIONS:
        _copy(distribution(name), output)


def _copy(package: Distribution, output: Path) -> None:
    for file in package.files or ():
        source = Path(str(package.locate_file(file)))
        if file.parts[0].endswith(".dist-info") or file.suffix == ".pyc" or ".." in file.parts:
            continue
        if file.suffix in _COMPILED:
            msg = f"{package.name} carries the compiled {file}: choose a pure-Python release in requirements/runtime.in"
            raise CompiledFileError(msg)
        target = output / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


@jsii.implements(ILocalBundling)
class LocalBundling:
    """Bundles on this machine; the container image CDK asks for is never used."""

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        """Build into CDK's folder."""
        build(Path(output_dir))
        return True


def lambda_code() -> lambda_.AssetCode:
    """Return the one asset all functions share; its hash is that of its content."""
    return lambda_.Code.from_asset(
        str(PACKAGE),
        asset_hash_type=AssetHashType.OUTPUT,
        bundling=BundlingOptions(image=DockerImage.from_registry("unused"), local=LocalBundling()),
    )
