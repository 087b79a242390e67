"""What a stop holds down besides policies: somebody's API keys, and functions that call Bedrock."""

import io
import zipfile
from dataclasses import dataclass

from botocore.exceptions import ClientError

from drill.emulator.emulator import Emulator
from lambdas.aws.concurrency import TAG

_CODE = "def handler(event, context):\n    return 'called'\n"


@dataclass(frozen=True, slots=True)
class Holdings:
    """Each of a kind that must be held down, next to one that must be left."""

    active_key: str
    inactive_key: str
    throttled: str
    """Tagged, nothing reserved."""
    reserved: str
    """Tagged, some concurrency reserved."""
    untagged: str


def equip(emulator: Emulator, user: str, role_arn: str) -> Holdings:
    """Give a user two long-term Bedrock API keys, and make three functions that run as a role."""
    made = Holdings(
        _key(emulator, user, active=True),
        _key(emulator, user, active=False),
        _function(emulator, "nightly-report", role_arn, tagged=True, reserved=None),
        _function(emulator, "chat-backend", role_arn, tagged=True, reserved=7),
        _function(emulator, "invoices", role_arn, tagged=False, reserved=3),
    )
    for each in (made.throttled, made.reserved, made.untagged):
        may_run(emulator, each)  # their log groups belong to the account as it was before
    return made


def may_run(emulator: Emulator, function: str) -> bool:
    """Invoke a function; False when it is throttled."""
    try:
        emulator.client("lambda").invoke(FunctionName=function)
    except ClientError as error:
        if error.response["Error"]["Code"] == "TooManyRequestsException":
            return False
        raise
    return True


def _key(emulator: Emulator, user: str, *, active: bool) -> str:
    iam = emulator.client("iam")
    made = iam.create_service_specific_credential(UserName=user, ServiceName="bedrock.amazonaws.com")
    name: str = made["ServiceSpecificCredential"]["ServiceSpecificCredentialId"]
    if not active:
        iam.update_service_specific_credential(UserName=user, ServiceSpecificCredentialId=name, Status="Inactive")
    return name


def _function(emulator: Emulator, name: str, role_arn: str, *, tagged: bool, reserved: int | None) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", _CODE)
    functions = emulator.client("lambda")
    functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="app.handler",
        Role=role_arn,
        Code={"ZipFile": packed.getvalue()},
        Tags={TAG: "2"} if tagged else {},
    )
    if reserved is not None:
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    return name
